//! What a run counts while it works: the figures of its heartbeats ([`crate::heartbeat`]), of its metrics and of its
//! closing table.
//!
//! Comes in: what stages begin and finish. Goes out: all counters at one moment. No stage ever waits for who looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::LogFormat;
use crate::error::RejectionClass;
use crate::pipeline::score::MediaRows;
use crate::process;
use crate::tables::media::{MediaRow, Seconds};

/// Counters of one run.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    listed_objects: AtomicU64,
    listed_bytes: AtomicU64,
    listing_ended: AtomicBool,
    begun_objects: AtomicU64,
    at_work: [AtomicU64; Stage::ALL.len()],
    /// None where the system does not tell.
    compute_time: Mutex<Option<Duration>>,
    tally: Mutex<Tally>,
}

/// The stages that take time, in the order in which data meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Fetch,
    Decode,
    Detect,
    Embed,
    /// Rows into parts.
    Encode,
    /// Parts to the destination.
    Write,
}

impl Stage {
    pub const ALL: [Self; 6] = [Self::Fetch, Self::Decode, Self::Detect, Self::Embed, Self::Encode, Self::Write];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Decode => "decode",
            Self::Detect => "detect",
            Self::Embed => "embed",
            Self::Encode => "encode",
            Self::Write => "write",
        }
    }
}

/// All counters at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub elapsed: Duration,
    pub listed_objects: u64,
    pub listed_bytes: u64,
    pub listing_ended: bool,
    /// Objects that were begun and have no rows yet.
    pub in_flight: u64,
    /// What each of [`Stage::ALL`] has in hand: objects, frames, batches or parts.
    pub at_work: [u64; Stage::ALL.len()],
    /// Processor time of the compute threads, when it was last measured.
    pub compute_time: Option<Duration>,
    pub tally: Tally,
}

impl Snapshot {
    /// The share of their time in which `threads` computed. The rest they waited, for what they compute on or for a
    /// processor.
    #[must_use]
    pub fn busy_share(&self, threads: usize) -> Option<f64> {
        let most = self.elapsed.as_secs_f64().max(1e-3) * threads as f64;
        // The system counts in steps, which may come to more than there was.
        self.compute_time.map(|time| (time.as_secs_f64() / most).min(1.0))
    }
}

/// A piece of work that a stage has in hand, until this is dropped.
#[derive(Debug)]
pub struct AtWork<'a>(&'a AtomicU64);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
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
    /// Decoded, but with fewer frames than were asked for.
    pub short_of_frames: u64,
    /// Decoded, and the decoder complained of something; those that are short of frames among them.
    pub with_message: u64,
    pub rejected: u64,
    /// Of the rejected, those that rights, the network or a bug kept from being read.
    pub unreadable: u64,
    pub rejected_by_class: BTreeMap<RejectionClass, u64>,
    pub seconds: StageSeconds,
}

/// Summed over objects; stages run side by side, so the sum exceeds the time that passed. `encode` and `write` are of the
/// parts, which several objects share.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct StageSeconds {
    pub fetch: f64,
    pub decode: f64,
    pub detect: f64,
    pub embed: f64,
    pub encode: f64,
    pub write: f64,
}

impl StageSeconds {
    #[must_use]
    pub fn of(&self, stage: Stage) -> f64 {
        match stage {
            Stage::Fetch => self.fetch,
            Stage::Decode => self.decode,
            Stage::Detect => self.detect,
            Stage::Embed => self.embed,
            Stage::Encode => self.encode,
            Stage::Write => self.write,
        }
    }
}

/// What counts of a media that has its rows.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    pub bytes: u64,
    pub frames: u64,
    pub faces: u64,
    pub is_scored: bool,
    pub is_short_of_frames: bool,
    pub has_message: bool,
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
            is_short_of_frames: media.rejection.is_none() && media.frames_decoded < media.frames_sampled,
            has_message: media.rejection.is_none() && media.decoder_message.is_some(),
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
        self.short_of_frames += u64::from(media.is_short_of_frames);
        self.with_message += u64::from(media.has_message);
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
        self.short_of_frames += other.short_of_frames;
        self.with_message += other.with_message;
        self.rejected += other.rejected;
        self.unreadable += other.unreadable;
        for (class, count) in &other.rejected_by_class {
            *self.rejected_by_class.entry(*class).or_default() += count;
        }
        let StageSeconds { fetch, decode, detect, embed, encode, write } = other.seconds;
        self.seconds.fetch += fetch;
        self.seconds.decode += decode;
        self.seconds.detect += detect;
        self.seconds.embed += embed;
        self.seconds.encode += encode;
        self.seconds.write += write;
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            listed_objects: AtomicU64::new(0),
            listed_bytes: AtomicU64::new(0),
            listing_ended: AtomicBool::new(false),
            begun_objects: AtomicU64::new(0),
            at_work: Default::default(),
            compute_time: Mutex::default(),
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
        let less = |count: &AtomicU64, by: u64| {
            let _ = count.fetch_update(Relaxed, Relaxed, |count| Some(count.saturating_sub(by)));
        };
        less(&self.listed_objects, objects);
        less(&self.listed_bytes, bytes);
    }

    pub fn listing_ended(&self) {
        self.listing_ended.store(true, Relaxed);
    }

    /// An object is on its way to its rows.
    pub fn begun(&self) {
        self.begun_objects.fetch_add(1, Relaxed);
    }

    /// A stage has one more piece of work in hand, until what this returns is dropped.
    #[must_use]
    pub fn enter(&self, stage: Stage) -> AtWork<'_> {
        let count = &self.at_work[stage as usize];
        count.fetch_add(1, Relaxed);
        AtWork(count)
    }

    /// Time that went into parts; that of objects comes with their rows.
    pub fn spent_on_parts(&self, encode: Duration, write: Duration) {
        let mut tally = lock(&self.tally);
        tally.seconds.encode += encode.as_secs_f64();
        tally.seconds.write += write.as_secs_f64();
    }

    pub fn finished(&self, rows: &MediaRows) {
        if let Some(media) = Finished::of(&rows.media) {
            self.count(&media);
        }
    }

    pub fn count(&self, media: &Finished) {
        lock(&self.tally).count(media);
    }

    /// Asks the system what the compute threads have done. They take that with them when they end.
    pub fn measure(&self) {
        *lock(&self.compute_time) = process::compute_time();
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let tally = self.tally();
        Snapshot {
            elapsed: self.elapsed(),
            listed_objects: self.listed_objects.load(Relaxed),
            listed_bytes: self.listed_bytes.load(Relaxed),
            listing_ended: self.listing_ended.load(Relaxed),
            in_flight: self.begun_objects.load(Relaxed).saturating_sub(tally.objects),
            compute_time: *lock(&self.compute_time),
            at_work: std::array::from_fn(|stage| self.at_work[stage].load(Relaxed)),
            tally,
        }
    }

    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where progress goes.
#[derive(Debug, Clone)]
pub enum Display {
    None,
    Bar(ProgressBar),
    /// In JSON each figure is a field of its own.
    Lines(LogFormat),
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

    /// Does something to the terminal that must not run into the bar.
    pub fn beside<T>(&self, show: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) => bar.suspend(show),
            Self::None | Self::Lines(_) => show(),
        }
    }

    pub fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
