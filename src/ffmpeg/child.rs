//! A contained child: a program, its words and a media file go in; the bytes that it writes come out, under watchdogs.
//!
//! The program is never started itself: `deepsweep contain` is, which takes from itself whatever the program needs not
//! ([`super::contain`]) and then becomes it. The media file is its standard input. Nothing else is inherited: no
//! variable, no folder, no open file.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::contain::{CANNOT_START, LayerState};
use super::process::{End, Process};
use super::said::{Said, SaidFrame};
use crate::error::{Rejection, RejectionClass};

/// What one child may use.
#[derive(Debug, Clone, Copy)]
pub struct ChildLimits {
    pub address_space_bytes: u64,
    /// Computing of all its threads, kept by the kernel.
    pub cpu: Duration,
    /// Time that somebody waited for it; while nobody reads, its clock stands still.
    pub wall: Duration,
    /// The same, since it last wrote or read anything.
    pub silence: Duration,
}

/// Holds several frames of a small video, and no more than the kernel grants everybody.
const PIPE_BYTES: usize = 1 << 20;

/// What is read of standard error at once.
const CHUNK_BYTES: usize = 4096;

/// Starts children through `deepsweep contain`.
#[derive(Debug)]
pub struct Contained {
    own_exe: PathBuf,
    warned: Once,
}

impl Contained {
    /// `own_exe` is the program deepsweep.
    #[must_use]
    pub fn new(own_exe: PathBuf) -> Self {
        Self { own_exe, warned: Once::new() }
    }

    /// Starts `program` by its absolute path, with `media` as its standard input. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// A system that has no room for another process.
    pub fn spawn(
        &self,
        program: &Path,
        args: &[String],
        media: &File,
        limits: &ChildLimits,
    ) -> Result<Running, Rejection> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let by = self.own_exe.display();
        let failed =
            |e| Rejection::new(RejectionClass::Panicked, format_args!("{name} could not be started by {by}: {e}"));
        let mut command = self.command(limits);
        command.arg("--").arg(program).args(args).stdin(media.try_clone().map_err(failed)?);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (process, stdout, stderr) = Process::start(command).map_err(failed)?;
        // Only so that both sides wait for each other less often.
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
        Ok(Running {
            stdout: Receiver::from_owned_fd(stdout.into()).map_err(failed)?,
            stderr: Some(Receiver::from_owned_fd(stderr.into()).map_err(failed)?),
            chunk: vec![0; CHUNK_BYTES],
            said: Said::default(),
            watch: Watch::new(*limits),
            process,
            name,
        })
    }

    /// What holds a child here, found out by a child that tries it.
    ///
    /// # Errors
    /// What kept the child from saying it.
    pub fn layers(&self) -> Result<Vec<LayerState>, String> {
        let limits = ChildLimits {
            address_space_bytes: 1 << 30,
            cpu: Duration::from_secs(10),
            wall: Duration::from_secs(10),
            silence: Duration::from_secs(10),
        };
        let media = File::open("/dev/null").map_err(|e| e.to_string())?;
        let output = self.command(&limits).arg("--check").stdin(media).output();
        let output = output.map_err(|e| format!("{} could not be started: {e}", self.own_exe.display()))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("{e}; {}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Warns of layers that this system lacks: once, however often it is called.
    pub fn warn_of_missing_layers(&self) {
        self.warned.call_once(|| match self.layers() {
            Ok(layers) => {
                let missing = layers.iter().filter(|layer| !layer.in_force);
                let missing: Vec<String> = missing.map(|layer| format!("{} ({})", layer.layer, layer.how)).collect();
                if !missing.is_empty() {
                    tracing::warn!(
                        "ffmpeg is contained by fewer layers than there are; this system lacks: {}; see deepsweep doctor",
                        missing.join(", ")
                    );
                }
            }
            Err(error) => tracing::warn!("the containment of ffmpeg could not be checked: {error}"),
        });
    }

    /// With nothing of this process but what the child is told.
    fn command(&self, limits: &ChildLimits) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&self.own_exe);
        command.arg("contain").env_clear().current_dir("/").process_group(0);
        command.arg(format!("--address-space={}", limits.address_space_bytes));
        command.arg(format!("--cpu-secs={}", limits.cpu.as_secs_f64().ceil() as u64));
        command.arg(format!("--parent={}", std::process::id()));
        command
    }
}

/// A child at work, alone in its process group. Dropping it kills the group.
#[derive(Debug)]
pub struct Running {
    name: String,
    stdout: Receiver,
    /// None from its end on.
    stderr: Option<Receiver>,
    chunk: Vec<u8>,
    said: Said,
    watch: Watch,
    process: Process,
}

/// What came next.
enum Heard {
    Output(io::Result<usize>),
    Said(io::Result<usize>),
    Ended(Option<End>),
    Nothing,
}

/// What is waited for beside standard error.
enum Wanted<'a> {
    Output(&'a mut [u8]),
    Said,
    End,
}

impl Running {
    /// The next bytes of standard output; 0 at its end.
    ///
    /// # Errors
    /// A child that hangs or takes too long.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Rejection> {
        loop {
            if let Heard::Output(read) = self.hear(Wanted::Output(buffer)).await? {
                return read.map_err(|e| self.unreadable(&e));
            }
        }
    }

    /// Fills `buffer`; false where the output ended before its first byte.
    ///
    /// # Errors
    /// As [`Self::read`], and an output that ended in the middle.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<bool, Rejection> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 if filled == 0 => return Ok(false),
                0 => {
                    let message = format!("expected {} bytes of a frame, {} wrote {filled}", buffer.len(), self.name);
                    return Err(self.corrupt(&message));
                }
                more => filled += more,
            }
        }
        Ok(true)
    }

    /// The next line of standard error that is about a frame; None at the end.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn next_frame(&mut self) -> Result<Option<SaidFrame>, Rejection> {
        loop {
            if let Some(frame) = self.said.take_frame() {
                return Ok(Some(frame));
            }
            if self.stderr.is_none() {
                return Ok(None);
            }
            self.hear(Wanted::Said).await?;
        }
    }

    /// Waits for the end, and lets go of output that nobody wanted. Gives what the child complained of, bounded.
    ///
    /// # Errors
    /// As [`Self::read`]; a child that was killed or failed, by its cause.
    pub async fn finish(mut self) -> Result<Vec<String>, Rejection> {
        let mut unwanted = vec![0; CHUNK_BYTES];
        while self.read(&mut unwanted).await? > 0 {}
        while self.stderr.is_some() {
            self.hear(Wanted::Said).await?;
        }
        let end = loop {
            if let Heard::Ended(end) = self.hear(Wanted::End).await? {
                break end;
            }
        };
        self.judge(end)
    }

    /// What the child complained of so far, bounded.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.said.complaints().to_vec()
    }

    /// One step: whatever comes first. What comes on standard error is always taken, or the child would wait for that.
    async fn hear(&mut self, wanted: Wanted<'_>) -> Result<Heard, Rejection> {
        let began = Instant::now();
        let Self { stdout, stderr, chunk, process, watch, .. } = self;
        let saying = async {
            match stderr {
                Some(stderr) => stderr.read(chunk).await,
                None => std::future::pending().await,
            }
        };
        let waiting = async {
            match wanted {
                Wanted::Output(buffer) => Heard::Output(stdout.read(buffer).await),
                Wanted::End => Heard::Ended(process.ended().await),
                Wanted::Said => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            heard = waiting => heard,
            read = saying => Heard::Said(read),
            () = tokio::time::sleep(watch.step()) => Heard::Nothing,
        };
        match &heard {
            Heard::Said(Ok(0)) => {
                self.said.end_line();
                self.stderr = None;
            }
            Heard::Said(Ok(read)) => self.said.hear(&self.chunk[..*read]),
            Heard::Said(Err(error)) => return Err(self.unreadable(error)),
            Heard::Output(_) | Heard::Ended(_) | Heard::Nothing => {}
        }
        if self.said.flooded() {
            return Err(self.corrupt("more frames were announced than came"));
        }
        if let Err(message) = self.watch.waited(began.elapsed(), &heard, || self.process.activity()) {
            self.process.kill();
            return Err(Rejection::new(RejectionClass::TimedOut, format_args!("{}: {message}", self.name)));
        }
        Ok(heard)
    }

    fn judge(&self, end: Option<End>) -> Result<Vec<String>, Rejection> {
        let name = &self.name;
        let Some(End { status, cpu }) = end else {
            return Err(Rejection::new(RejectionClass::Panicked, format_args!("{name} vanished")));
        };
        let complaints = self.said.complaints();
        if status.success() {
            return Ok(complaints.to_vec());
        }
        let says = |words: &[&str]| complaints.iter().any(|line| words.iter().any(|word| line.contains(word)));
        let first = complaints.first().map_or("it gave no reason", String::as_str);
        let signal = status.signal();
        let is = |signals: &[Signal]| signals.iter().any(|one| signal == Some(one.as_raw()));
        // The kernel looks at its clock every few milliseconds.
        let computed_too_long = cpu.is_some_and(|cpu| cpu + Duration::from_millis(100) >= self.watch.limits.cpu);
        let (class, message) = if status.code() == Some(i32::from(CANNOT_START)) || says(&["loading shared libraries"])
        {
            (RejectionClass::Panicked, format!("{name} could not be started: {first}"))
        } else if is(&[Signal::XCPU]) || is(&[Signal::KILL]) && computed_too_long {
            let most = self.watch.limits.cpu.as_secs_f64();
            (RejectionClass::TimedOut, format!("{name}: expected at most {most} s of computing, found more"))
        } else if says(&["annot allocate", "ut of memory", "bad_alloc"]) {
            let most = self.watch.limits.address_space_bytes;
            (RejectionClass::TooLarge, format!("{name}: expected to need at most {most} bytes of memory: {first}"))
        } else if is(&[Signal::KILL]) {
            (RejectionClass::TooLarge, format!("{name} was killed, as a system does that has no memory left"))
        } else if let Some(signal) = signal {
            (RejectionClass::Corrupt, format!("{name} was killed by {}: {first}", name_of(signal)))
        } else {
            (RejectionClass::Corrupt, format!("{name}: {first}"))
        };
        Err(Rejection::new(class, message))
    }

    /// A complaint says more than that something is missing.
    fn corrupt(&self, message: &str) -> Rejection {
        let complaint = self.said.complaints().first().map(|first| format!(": {first}")).unwrap_or_default();
        Rejection::new(RejectionClass::Corrupt, format_args!("{message}{complaint}"))
    }

    fn unreadable(&self, error: &io::Error) -> Rejection {
        Rejection::new(RejectionClass::Panicked, format_args!("{}: its output cannot be read: {error}", self.name))
    }
}

/// The two clocks of a child. Both count only time in which it was waited for.
#[derive(Debug)]
struct Watch {
    limits: ChildLimits,
    waited: Duration,
    silent: Duration,
    activity: Option<u64>,
}

impl Watch {
    fn new(limits: ChildLimits) -> Self {
        Self { limits, waited: Duration::ZERO, silent: Duration::ZERO, activity: None }
    }

    /// From one look to the next: often enough to notice either limit soon, seldom enough to cost nothing.
    fn step(&self) -> Duration {
        (self.limits.silence.min(self.limits.wall) / 8).clamp(Duration::from_millis(10), Duration::from_millis(500))
    }

    fn waited(&mut self, time: Duration, heard: &Heard, activity: impl FnOnce() -> Option<u64>) -> Result<(), String> {
        self.waited += time;
        self.silent += time;
        // A decoder on its way to the next wanted frame writes nothing, but it reads.
        let is_at_work = !matches!(heard, Heard::Nothing) || {
            let before = std::mem::replace(&mut self.activity, activity());
            self.activity != before
        };
        if is_at_work {
            self.silent = Duration::ZERO;
        }
        let ChildLimits { wall, silence, .. } = self.limits;
        if self.silent >= silence {
            return Err(format!("expected progress, found none for {} s", silence.as_secs_f64()));
        }
        if self.waited >= wall {
            return Err(format!("expected to take at most {} s, found more", wall.as_secs_f64()));
        }
        Ok(())
    }
}

/// As manuals call it.
fn name_of(signal: i32) -> String {
    let known = [
        (Signal::SEGV, "SIGSEGV"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::ILL, "SIGILL"),
        (Signal::SYS, "SIGSYS"),
        (Signal::XFSZ, "SIGXFSZ"),
    ];
    let name = known.iter().find(|(known, _)| known.as_raw() == signal);
    name.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}
