//! `deepsweep contain`: takes from this process what a decoder needs not, layer by layer, and becomes the decoder.
//!
//! In: bounds and a program with its words; standard input is the media file. Out: nothing, the program runs in this
//! process from then on. Each layer is tried by itself: a system that lacks one still has the others, and
//! `--check` says which, after trying whatever a layer stops.
//!
//! | layer | takes away |
//! |---|---|
//! | environment | every variable, credentials among them; the working folder (the parent does it) |
//! | life | outliving the run |
//! | descriptors | whatever else the parent has open |
//! | privileges | capabilities, set-user-id programs, other users' files |
//! | network | every interface (a network namespace) |
//! | files | every file but the media, the program and the system's libraries; writing (Landlock) |
//! | system calls | sockets, new processes, leaving the group, debugging, signals to others, modes, owners and times of files, mounts, keys, io_uring (seccomp) |
//! | limits | memory, computing, files' sizes, open files, core dumps |
//!
//! Nothing here runs between fork and exec: it is a program of its own, with one thread.

mod bounds;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod privileges;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use serde::{Deserialize, Serialize};

/// How `deepsweep contain` ends where the program does not begin; no exit code of ffmpeg.
pub const CANNOT_START: u8 = 125;

/// The command line, written by this program for itself ([`super::child`]).
#[derive(Debug, Args)]
pub struct ContainArgs {
    /// Bytes
    #[arg(long)]
    pub address_space: Option<u64>,
    #[arg(long)]
    pub cpu_secs: Option<u64>,
    /// The process that started this one
    #[arg(long)]
    pub parent: Option<u32>,
    /// Try what each layer stops, and print what was found as JSON
    #[arg(long, conflicts_with = "program")]
    pub check: bool,
    #[arg(required_unless_present = "check")]
    pub program: Option<PathBuf>,
    #[arg(last = false, trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// One layer as `--check` found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerState {
    pub layer: String,
    pub stops: String,
    pub in_force: bool,
    /// By what, or why not.
    pub how: String,
}

/// By what it is in force; or why it is not.
type Applied = Result<String, String>;

struct Layer {
    name: &'static str,
    stops: &'static str,
    apply: fn(&ContainArgs) -> Applied,
    /// Tries what the layer stops, once all of them are in force.
    prove: fn(&ContainArgs) -> Result<(), String>,
}

/// Takes the layers on and becomes the program; comes back only with `--check`, or where there is no such program.
#[must_use]
pub fn enter(args: &ContainArgs) -> ExitCode {
    let applied: Vec<Applied> = LAYERS.iter().map(|layer| (layer.apply)(args)).collect();
    let Some(program) = &args.program else {
        return report(args, applied);
    };
    let error = Command::new(program).args(&args.words).env_clear().exec();
    fail(program, &error)
}

fn fail(program: &Path, error: &std::io::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "deepsweep contain: {}: {error}", program.display());
    ExitCode::from(CANNOT_START)
}

fn report(args: &ContainArgs, applied: Vec<Applied>) -> ExitCode {
    let state = |(layer, applied): (&Layer, Applied)| {
        let proved = applied.and_then(|how| (layer.prove)(args).map(|()| how));
        let in_force = proved.is_ok();
        let how = proved.unwrap_or_else(|why| why);
        LayerState { layer: layer.name.to_owned(), stops: layer.stops.to_owned(), in_force, how }
    };
    let states: Vec<LayerState> = LAYERS.iter().zip(applied).map(state).collect();
    let printed = serde_json::to_writer(std::io::stdout().lock(), &states);
    if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(CANNOT_START) }
}

/// In the order in which they can be taken on: a later one may forbid what an earlier one asks of the system.
const LAYERS: [Layer; 8] = [
    Layer {
        name: "environment",
        stops: "reading credentials and paths from variables and the working folder",
        apply: |_| Ok("empty".to_owned()),
        prove: |_| bounds::prove_environment(),
    },
    Layer {
        name: "descriptors",
        stops: "reading and writing what the parent has open",
        apply: |_| bounds::close_descriptors(),
        prove: |_| Ok(()), // looked at when they were closed
    },
    Layer {
        name: "network",
        stops: "reaching any machine, this one included",
        apply: linux::leave_network,
        prove: |_| Ok(()), // the namespaces were compared
    },
    Layer { name: "privileges", stops: PRIVILEGES_STOP, apply: linux::drop_privileges, prove: linux::prove_privileges },
    // The kernel forgets this one where a process changes what it is, so it comes after privileges.
    Layer {
        name: "life",
        stops: "outliving the run, however that ends",
        apply: linux::die_with_parent,
        prove: linux::prove_death,
    },
    Layer {
        name: "files",
        stops: "opening any file but the media and the system's libraries, writing any, running another program",
        apply: linux::restrict_files,
        prove: linux::prove_files,
    },
    Layer {
        name: "system calls",
        stops: "sockets, new processes, leaving the group that is killed, signals to others, debugging, changing a file's mode, \
                owner, times or attributes, mounts, keys, io_uring, kernel modules",
        apply: linux::restrict_calls,
        prove: linux::prove_calls,
    },
    Layer {
        name: "limits",
        stops: "taking more memory or computing than granted, writing files, dumping core",
        apply: bounds::limit,
        prove: bounds::prove_limits,
    },
];

const PRIVILEGES_STOP: &str = "using root's rights, gaining rights from set-user-id programs";

#[cfg(target_os = "linux")]
mod linux {
    pub use super::bounds::{die_with_parent, prove_death};
    pub use super::calls::{prove_calls, restrict_calls};
    pub use super::files::{prove_files, restrict_files};
    pub use super::privileges::{drop_privileges, leave_network, prove_privileges};
}

/// Elsewhere these layers do not exist, and `--check` says so.
#[cfg(not(target_os = "linux"))]
mod linux {
    use super::{Applied, ContainArgs};

    fn missing(_: &ContainArgs) -> Applied {
        Err("only Linux has it".to_owned())
    }

    fn nothing_to_prove(_: &ContainArgs) -> Result<(), String> {
        Ok(())
    }

    pub use missing as drop_privileges;
    pub use missing as leave_network;
    pub use missing as die_with_parent;
    pub use missing as restrict_files;
    pub use missing as restrict_calls;
    pub use nothing_to_prove as prove_privileges;
    pub use nothing_to_prove as prove_death;
    pub use nothing_to_prove as prove_files;
    pub use nothing_to_prove as prove_calls;
}
