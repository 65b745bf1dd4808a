//! A pull as a person sees it: a bar on a terminal, lines elsewhere, nothing with `--quiet`.

use std::time::{Duration, Instant};

use bytesize::ByteSize;

use crate::limits;
use crate::progress::Display;

/// Bytes of all files of one pull.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    display: &'a Display,
    what: String,
    total_bytes: u64,
    done_bytes: u64,
    /// Done before this process began: they say nothing about its speed.
    resumed_bytes: u64,
    start: Instant,
    last_line: Instant,
}

impl<'a> Shown<'a> {
    pub fn begin(display: &'a Display, what: &str, total_bytes: u64, resumed_bytes: u64) -> Self {
        let now = Instant::now();
        let shown = Self {
            display,
            what: what.to_owned(),
            total_bytes,
            done_bytes: resumed_bytes,
            resumed_bytes,
            start: now,
            last_line: now,
        };
        if let Display::Bar(bar) = display {
            bar.reset();
            bar.set_length(total_bytes);
        }
        shown.draw();
        shown
    }

    pub fn advance(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        self.draw();
        if matches!(self.display, Display::Lines(_))
            && self.last_line.elapsed() >= Duration::from_secs(limits::PROGRESS_LINE_SECS)
        {
            self.last_line = Instant::now();
            tracing::info!("{}", self.line());
        }
    }

    /// Bytes that have to come once more.
    pub fn take_back(&mut self, bytes: u64) {
        self.done_bytes = self.done_bytes.saturating_sub(bytes);
        self.resumed_bytes = self.resumed_bytes.min(self.done_bytes);
        self.draw();
    }

    pub fn elapsed(&self) -> Duration {
        // Whole seconds are what a person reads.
        Duration::from_secs(self.start.elapsed().as_secs_f64().round() as u64)
    }

    fn draw(&self) {
        if let Display::Bar(bar) = self.display {
            bar.set_position(self.done_bytes);
            bar.set_message(self.line());
        }
    }

    fn line(&self) -> String {
        let size = |bytes: u64| ByteSize(bytes).display().iec();
        let mut line = format!("{}: {} of {}", self.what, size(self.done_bytes), size(self.total_bytes));
        let (came, secs) = (self.done_bytes.saturating_sub(self.resumed_bytes), self.start.elapsed().as_secs_f64());
        if came > 0 && secs >= 1.0 {
            let per_sec = came as f64 / secs;
            let left = self.total_bytes.saturating_sub(self.done_bytes) as f64 / per_sec;
            let left = humantime::format_duration(Duration::from_secs(left.ceil() as u64)).to_string();
            line += &format!(", {}/s, {left} left", size(per_sec as u64));
        }
        line
    }
}

/// The bar is the run's again.
impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Display::Bar(bar) = self.display {
            bar.set_message("");
            bar.unset_length();
            bar.reset();
        }
    }
}
