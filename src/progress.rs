//! What a person sees while a run works, and the figures of its closing table.
//!
//! A bar on a terminal, one line every 30 s elsewhere, nothing with `--quiet`. Counting is by atomics: no stage
//! ever waits for a display.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::RejectionClass;
use crate::limits;
use crate::pipeline::score::MediaRows;
use crate::tables::media::{MediaRow, Seconds};

/// Counters of one run.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    listed_objects: AtomicU64,
    listed_bytes: AtomicU64,
    listing_ended: AtomicBool,
    tally: Mutex<Tally>,
}

/// What has its rows.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    pub objects: u64,
    pub bytes: u64,
    pub frames: u64,
    pub faces: u64,
    pub scored: u64,
    pub no_face: u64,
    pub rejected: u64,
    /// Of the rejected, those that rights, the network or a bug kept from being read.
    pub unreadable: u64,
    pub rejected_by_class: BTreeMap<RejectionClass, u64>,
    pub seconds: StageSeconds,
}

/// Summed over objects; stages run side by side, so the sum exceeds the time that passed.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct StageSeconds {
    pub fetch: f64,
    pub decode: f64,
    pub detect: f64,
    pub embed: f64,
}

/// What counts of a media that has its rows.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    pub bytes: u64,
    pub frames: u64,
    pub faces: u64,
    pub is_scored: bool,
    pub rejection: Option<RejectionClass>,
    pub seconds: Seconds,
}

impl Finished {
    /// Of the rows of one media: each scorer has one of its own, and they differ in their scores only.
    #[must_use]
    pub fn of(rows: &[MediaRow]) -> Option<Self> {
        let media = rows.first()?;
        Some(Self {
            bytes: media.size_bytes as u64,
            frames: media.frames_decoded as u64,
            faces: media.n_faces as u64,
            is_scored: rows.iter().any(|row| row.scores.is_some()),
            rejection: media.rejection.as_ref().map(|rejection| rejection.class),
            seconds: media.seconds,
        })
    }
}

impl Tally {
    pub fn count(&mut self, media: &Finished) {
        self.objects += 1;
        self.bytes += media.bytes;
        self.frames += media.frames;
        self.faces += media.faces;
        self.scored += u64::from(media.is_scored);
        self.no_face += u64::from(media.rejection.is_none() && media.faces == 0);
        if let Some(class) = media.rejection {
            self.rejected += 1;
            self.unreadable += u64::from(class.is_failure_to_read());
            *self.rejected_by_class.entry(class).or_default() += 1;
        }
        let Seconds { fetch, decode, detect, embed } = media.seconds;
        self.seconds.fetch += fetch;
        self.seconds.decode += decode;
        self.seconds.detect += detect;
        self.seconds.embed += embed;
    }

    /// Adds what another slice or another worker counted.
    pub fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.frames += other.frames;
        self.faces += other.faces;
        self.scored += other.scored;
        self.no_face += other.no_face;
        self.rejected += other.rejected;
        self.unreadable += other.unreadable;
        for (class, count) in &other.rejected_by_class {
            *self.rejected_by_class.entry(*class).or_default() += count;
        }
        let StageSeconds { fetch, decode, detect, embed } = other.seconds;
        self.seconds.fetch += fetch;
        self.seconds.decode += decode;
        self.seconds.detect += detect;
        self.seconds.embed += embed;
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            listed_objects: AtomicU64::new(0),
            listed_bytes: AtomicU64::new(0),
            listing_ended: AtomicBool::new(false),
            tally: Mutex::default(),
        }
    }
}

impl Progress {
    pub fn listed(&self, bytes: u64) {
        self.listed_several(1, bytes);
    }

    pub fn listed_several(&self, objects: u64, bytes: u64) {
        self.listed_objects.fetch_add(objects, Relaxed);
        self.listed_bytes.fetch_add(bytes, Relaxed);
    }

    /// What there is to do, in place of what was counted of it.
    pub fn planned(&self, objects: u64, bytes: u64) {
        self.listed_objects.store(objects, Relaxed);
        self.listed_bytes.store(bytes, Relaxed);
        self.listing_ended();
    }

    /// Less there is to do: it was done before.
    pub fn left_out(&self, objects: u64, bytes: u64) {
        self.listed_objects.fetch_sub(objects, Relaxed);
        self.listed_bytes.fetch_sub(bytes, Relaxed);
    }

    pub fn listing_ended(&self) {
        self.listing_ended.store(true, Relaxed);
    }

    pub fn finished(&self, rows: &MediaRows) {
        if let Some(media) = Finished::of(&rows.media) {
            self.count(&media);
        }
    }

    pub fn count(&self, media: &Finished) {
        self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner).count(media);
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn line(&self) -> String {
        let tally = self.tally();
        let elapsed = self.start.elapsed().as_secs_f64().max(1e-3);
        let listed = self.listed_objects.load(Relaxed);
        let more = if self.listing_ended.load(Relaxed) { "" } else { "+" };
        let mut line = format!("{} of {listed}{more} objects", tally.objects);
        if let Some(left) = self.time_left(&tally) {
            let _ = write!(line, ", {} left", humantime::format_duration(left));
        }
        // The most wanted first: a narrow terminal cuts the end.
        let _ = write!(
            line,
            ", {} faces, {} rejected, {:.1} frames/s, {} of {}{more}",
            tally.faces,
            tally.rejected,
            tally.frames as f64 / elapsed,
            ByteSize(tally.bytes).display().iec(),
            ByteSize(self.listed_bytes.load(Relaxed)).display().iec(),
        );
        line
    }

    /// By bytes, once the listing is whole and there is something to judge by.
    fn time_left(&self, tally: &Tally) -> Option<Duration> {
        if !self.listing_ended.load(Relaxed) || tally.bytes == 0 {
            return None;
        }
        let bytes_left = self.listed_bytes.load(Relaxed).saturating_sub(tally.bytes);
        let seconds = self.start.elapsed().as_secs_f64() * bytes_left as f64 / tally.bytes as f64;
        Some(Duration::from_secs(seconds.ceil() as u64))
    }

    /// Shows the progress until it is dropped by the caller: never returns by itself.
    pub async fn show(&self, display: &Display) {
        match display {
            Display::None => std::future::pending().await,
            Display::Bar(bar) => loop {
                tokio::time::sleep(Duration::from_millis(150)).await; // smooth to the eye, nothing to the CPU
                let tally = self.tally();
                // Until the listing has ended nobody knows how long the bar is.
                if self.listing_ended.load(Relaxed) {
                    bar.set_length(self.listed_objects.load(Relaxed));
                }
                bar.set_position(tally.objects);
                bar.set_message(self.line());
            },
            Display::Lines => loop {
                tokio::time::sleep(Duration::from_secs(limits::PROGRESS_LINE_SECS)).await;
                tracing::info!("{}", self.line());
            },
        }
    }
}

/// Where progress goes.
#[derive(Debug, Clone)]
pub enum Display {
    None,
    Bar(ProgressBar),
    Lines,
}

impl Display {
    /// A bar for a terminal that is not told to be quiet.
    #[must_use]
    pub fn bar() -> Self {
        let bar = ProgressBar::no_length();
        // The template is a constant and checked by a test.
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {elapsed_precise} {wide_msg}") {
            bar.set_style(style.progress_chars("━╸ "));
        }
        Self::Bar(bar)
    }

    pub fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
