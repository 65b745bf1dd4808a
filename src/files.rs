//! Files that a person names: regular ones only. A pipe or a device never ends, and a run that waits for one hears no
//! signal. And files in memory, which have no name.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Recipes, configurations and job files are a few kB, tokenizers and indices of shards a few MB.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// # Errors
/// What the system says, and anything that is no regular file.
pub fn open(path: &Path) -> Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_file() {
        return File::open(path);
    }
    let found = if kind.is_dir() { "a folder" } else { "a pipe or a device" };
    Err(Error::new(ErrorKind::InvalidInput, format!("expected a file, found {found}")))
}

/// # Errors
/// As [`open`], and a text that is too long or no UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    open(path)?.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        let message = format!("expected at most {MAX_TEXT_BYTES} bytes of text, found more");
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(text)
}

/// A new file in memory, which the system takes back when the last one who has it open lets go. `name` is what a list of
/// open files shows.
///
/// # Errors
/// A system without such files.
#[cfg(target_os = "linux")]
pub fn in_memory(name: &str) -> Result<File> {
    use rustix::fs::MemfdFlags as Flags;
    let flags = Flags::CLOEXEC | Flags::ALLOW_SEALING;
    let create = |flags| rustix::fs::memfd_create(name, flags);
    // Nobody can execute it, where the kernel knows how to promise that (6.3).
    let made = create(flags | Flags::NOEXEC_SEAL).or_else(|_| create(flags))?;
    Ok(File::from(made))
}

#[cfg(not(target_os = "linux"))]
pub fn in_memory(_: &str) -> Result<File> {
    Err(Error::from(ErrorKind::Unsupported))
}

/// Closes a file in memory to every change.
///
/// # Errors
/// What the system says.
#[cfg(target_os = "linux")]
pub fn seal(file: &File) -> Result<()> {
    use rustix::fs::SealFlags as Seals;
    Ok(rustix::fs::fcntl_add_seals(file, Seals::WRITE | Seals::GROW | Seals::SHRINK | Seals::SEAL)?)
}

#[cfg(not(target_os = "linux"))]
pub fn seal(_: &File) -> Result<()> {
    Ok(())
}

/// The file from its start: for reading only, where the system can open a file without a name a second time.
///
/// # Errors
/// What the system says.
pub fn again(file: &File) -> Result<File> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        if let Ok(again) = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())) {
            return Ok(again);
        }
    }
    let mut again = file.try_clone()?;
    std::io::Seek::rewind(&mut again)?;
    Ok(again)
}
