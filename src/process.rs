//! What the system says of this process: its memory and its compute threads. None where the system does not say it the
//! way Linux does; nothing depends on it but what is shown.

use std::fs;
use std::time::Duration;

/// Compute threads are known by their names.
pub const COMPUTE_THREAD: &str = "compute-";

/// Ticks in which Linux counts the time of threads, the same on every machine (`USER_HZ`).
const TICKS_PER_S: u64 = 100;

/// Memory that is in RAM, children left out.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Processor time of the compute threads so far, summed. By the system and not by our own clocks: one task may keep several
/// threads busy, and a thread may take up a second task while it waits for others to end their share of the first.
#[must_use]
pub fn compute_time() -> Option<Duration> {
    let mut ticks = None;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread may end while the folder is read.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        if let Some(of_thread) = ticks_of(&stat) {
            *ticks.get_or_insert(0) += of_thread;
        }
    }
    ticks.map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

/// User and system time, where it is a compute thread: `ID (NAME) STATE …`, the 14th and the 15th of proc_pid_stat(5).
fn ticks_of(stat: &str) -> Option<u64> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    if !name.starts_with(COMPUTE_THREAD) {
        return None;
    }
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::ticks_of;

    #[test]
    fn only_compute_threads_count() {
        let stat = |name: &str| format!("77 ({name}) S 1 1 1 0 -1 4194368 90 0 0 0 150 25 0 0 20 0 7 0 4 5 6");
        assert_eq!(ticks_of(&stat("compute-0")), Some(175));
        assert_eq!(ticks_of(&stat("tokio-rt (1)")), None);
        assert_eq!(ticks_of(""), None);
    }
}
