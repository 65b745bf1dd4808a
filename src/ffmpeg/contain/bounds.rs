//! Layers that every Unix has: what is inherited, how long the process lives, how much it may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Applied, ContainArgs};

/// The decoder opens its libraries one after the other, and the media once.
const OPEN_FILES: u64 = 64;

pub fn prove_environment() -> Result<(), String> {
    match std::env::vars_os().next() {
        None => Ok(()),
        Some((name, _)) => Err(format!("expected no variables, found {}", name.display())),
    }
}

/// Nothing above the three standard streams: whoever started deepsweep may have left it more.
#[cfg(target_os = "linux")]
pub fn close_descriptors() -> Applied {
    for descriptor in descriptors()? {
        // The listing itself is among them, and closed by now.
        let _ = nix::unistd::close(descriptor);
    }
    // One more that is seen is that of looking.
    match descriptors()?.len() {
        0 | 1 => Ok("closed".to_owned()),
        left => Err(format!("{} remain open", left - 1)),
    }
}

#[cfg(target_os = "linux")]
fn descriptors() -> Result<Vec<i32>, String> {
    let listed = std::fs::read_dir("/proc/self/fd").map_err(|e| format!("/proc/self/fd: {e}"))?;
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|descriptor| *descriptor > 2).collect())
}

#[cfg(not(target_os = "linux"))]
pub fn close_descriptors() -> Applied {
    Err("only Linux has it".to_owned())
}

/// The kernel kills it with the thread that started it.
#[cfg(target_os = "linux")]
pub fn die_with_parent(args: &ContainArgs) -> Applied {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| e.to_string())?;
    // A parent that was gone before is never heard of again.
    if args.parent.is_some() && getppid().map(|id| id.as_raw_nonzero().get().unsigned_abs()) != args.parent {
        std::process::exit(i32::from(super::CANNOT_START));
    }
    Ok("parent-death signal".to_owned())
}

#[cfg(target_os = "linux")]
pub fn prove_death(_: &ContainArgs) -> Result<(), String> {
    use rustix::process::{Signal, parent_process_death_signal};
    match parent_process_death_signal() {
        Ok(Some(Signal::KILL)) => Ok(()),
        other => Err(format!("expected SIGKILL, found {other:?}")),
    }
}

fn wanted(args: &ContainArgs) -> [(Resource, u64); 5] {
    [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, OPEN_FILES),
        // Both limits are one, so that the kernel ends it at once: ffmpeg catches the warning signal and goes on.
        (Resource::Cpu, args.cpu_secs.unwrap_or(u64::MAX)),
        (Resource::As, args.address_space.unwrap_or(u64::MAX)),
    ]
}

pub fn limit(args: &ContainArgs) -> Applied {
    for (resource, most) in wanted(args) {
        let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        let most = (most < u64::MAX).then_some(most);
        setrlimit(resource, Rlimit { current: most, maximum: most }).map_err(|e| format!("{resource:?}: {e}"))?;
    }
    Ok("resource limits".to_owned())
}

pub fn prove_limits(args: &ContainArgs) -> Result<(), String> {
    for (resource, most) in wanted(args) {
        let found = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        if found > most {
            return Err(format!("{resource:?}: expected at most {most}, found {found}"));
        }
    }
    Ok(())
}
