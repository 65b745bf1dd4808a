//! Landlock: the program, its libraries and the media may be read, nothing else may be opened or run.
//!
//! A dynamic program reads its libraries by itself, so the system's library folders stay readable as a whole: they are
//! the same on every machine of a distribution, and hold nothing of anybody's.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::{Applied, ContainArgs};

/// Everything that the crate knows; the kernel takes what it knows of that.
const NEWEST: ABI = ABI::V10;

/// Where systems keep libraries. Folders that are not there are left out.
const LIBRARIES: [&str; 12] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/nix/store",
    "/home/linuxbrew/.linuxbrew/lib",
    "/home/linuxbrew/.linuxbrew/opt",
    "/home/linuxbrew/.linuxbrew/Cellar",
];

/// What the loader asks for the way to them.
const LOADER_FILES: [&str; 4] =
    ["/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path"];

const RANDOM: [&str; 2] = ["/dev/urandom", "/dev/random"];

pub fn restrict_files(args: &ContainArgs) -> Applied {
    let mut rules = handled().map_err(|e| e.to_string())?;
    let read = BitFlags::from(AccessFs::ReadFile);
    for path in LIBRARIES.iter().chain(&LOADER_FILES).chain(&RANDOM) {
        allow(&mut rules, Path::new(path), read);
    }
    allow(&mut rules, Path::new("/dev/null"), read | AccessFs::WriteFile);
    if let Some(program) = &args.program {
        let program = program.canonicalize().unwrap_or_else(|_| program.clone());
        // The kernel starts the interpreter of a dynamic program as if it were a program itself.
        for path in [Some(program.clone()), interpreter(&program)].into_iter().flatten() {
            allow(&mut rules, &path, read | AccessFs::Execute);
        }
        // An ffmpeg of somebody's own brings its libraries: /opt/ffmpeg/bin/ffmpeg, /opt/ffmpeg/lib.
        if let Some(root) = program.parent().and_then(Path::parent) {
            allow(&mut rules, &root.join("lib"), read);
        }
    }
    // A file in memory is on no file system and takes no rule; it may always be opened again.
    let _ = (&mut rules).add_rule(PathBeneath::new(std::io::stdin().as_fd(), read));
    let status = rules.restrict_self().map_err(|e| e.to_string())?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Err("Landlock is not enabled in this kernel; its boot parameter lsm= must name it".to_owned())
        }
        (RulesetStatus::NotEnforced, _) => Err("this kernel has no Landlock (Linux 5.13)".to_owned()),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(format!("Landlock {effective_abi}")),
        _ => Ok("Landlock".to_owned()),
    }
}

pub fn prove_files(_: &ContainArgs) -> Result<(), String> {
    match std::fs::read_dir("/") {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(format!("/: expected to be refused, found {error}")),
        Ok(_) => Err("/: expected to be refused, could be read".to_owned()),
    }
}

/// What is forbidden where no rule allows it. TCP and signals have layers of their own; this is for kernels that would
/// lack those.
fn handled() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()
}

/// A path that is not there needs no rule, and one that cannot be had is refused, which is what a layer does.
fn allow(rules: &mut RulesetCreated, path: &Path, access: BitFlags<AccessFs>) {
    if let Ok(path) = PathFd::new(path) {
        let _ = rules.add_rule(PathBeneath::new(path, access));
    }
}

/// The loader that an ELF program of 64 bits names (PT_INTERP); none of a static program.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut file = File::open(program).ok()?;
    let mut header = [0; 64];
    file.read_exact(&mut header).ok()?;
    if header[..6] != *b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    for at in 0..u64::from(count) {
        let mut segment = [0; 56];
        file.seek(SeekFrom::Start(table.checked_add(at * u64::from(size))?)).ok()?;
        file.read_exact(&mut segment).ok()?;
        if segment[..4] == [3, 0, 0, 0] {
            let (offset, bytes) = (u64_at(&segment, 8)?, u64_at(&segment, 32)?);
            let mut name = vec![];
            file.seek(SeekFrom::Start(offset)).ok()?;
            file.take(bytes.min(4096)).read_to_end(&mut name).ok()?;
            name.retain(|byte| *byte != 0);
            return Some(PathBuf::from(std::ffi::OsString::from_vec(name)));
        }
    }
    None
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}
