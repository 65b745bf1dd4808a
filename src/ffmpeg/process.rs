//! One operating-system process: started, awaited and buried by a thread of its own.
//!
//! The kernel ties the life of a child to the *thread* that started it (the parent-death signal), so that thread must
//! live as long as the child does. It has nothing to do but to wait, and whoever drops the child need not: nobody leaves
//! a zombie, and no identity is signalled that might have passed to somebody else.

use std::io;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::sync::oneshot;

/// Waiting takes no stack; starting a program takes little.
const THREAD_STACK_BYTES: usize = 256 << 10;

/// The leader of a process group of its own. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Process {
    id: Pid,
    /// False from the moment at which the system may give the identity to another process.
    alive: Arc<Mutex<bool>>,
    ended: oneshot::Receiver<End>,
}

/// What became of it.
#[derive(Debug)]
pub struct End {
    pub status: ExitStatus,
    /// Computing of all its threads, where the system says it.
    pub cpu: Option<Duration>,
}

impl Process {
    /// Starts `command`, whose standard output and standard error must be pipes.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(mut command: Command) -> io::Result<(Self, ChildStdout, ChildStderr)> {
        let (started, start) = mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        let alive = Arc::new(Mutex::new(true));
        let watched = Arc::clone(&alive);
        let work = move || match command.spawn() {
            Ok(mut child) => {
                let id = Pid::from_child(&child);
                let pipes = child.stdout.take().zip(child.stderr.take());
                let _ = started.send(Ok((id, pipes)));
                if let Ok(ended) = bury(child, id, &watched) {
                    let _ = end.send(ended);
                }
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        };
        std::thread::Builder::new().name("child".to_owned()).stack_size(THREAD_STACK_BYTES).spawn(work)?;
        let (id, pipes) = start.recv().map_err(io::Error::other)??;
        let process = Self { id, alive, ended };
        let (stdout, stderr) = pipes.ok_or_else(|| io::Error::other("expected pipes, found none"))?;
        Ok((process, stdout, stderr))
    }

    /// Waits for its end; None where the system would not tell.
    pub async fn ended(&mut self) -> Option<End> {
        (&mut self.ended).await.ok()
    }

    /// Ends it and everything that it started, at once.
    pub fn kill(&self) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive {
            let _ = kill_process_group(self.id, Signal::KILL);
            // It may have gone to another group, where nothing keeps it from that.
            let _ = kill_process(self.id, Signal::KILL);
        }
    }

    /// A number that grows as long as it works on its input: bytes read, or, where the system does not say them, ticks of
    /// computing. None where it says neither.
    #[must_use]
    pub fn activity(&self) -> Option<u64> {
        let id = self.id.as_raw_nonzero();
        let io = std::fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
        let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok());
        read.or_else(|| cpu_ticks(self.id))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn bury(mut child: Child, id: Pid, alive: &Mutex<bool>) -> io::Result<End> {
    // The dead keep their identity until they are asked for: so long nobody else can have it.
    while let Err(error) = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        if error != rustix::io::Errno::INTR {
            break;
        }
    }
    let cpu = cpu_ticks(id).map(|ticks| Duration::from_millis(ticks * MILLIS_PER_TICK));
    let mut alive = alive.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = kill_process_group(id, Signal::KILL);
    *alive = false;
    Ok(End { status: child.wait()?, cpu })
}

/// Linux tells ticks of 10 ms on every architecture that this program is built for.
const MILLIS_PER_TICK: u64 = 10;

/// User and system time: fields 14 and 15 of `stat`, counted behind the name, which may hold anything.
fn cpu_ticks(id: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}
