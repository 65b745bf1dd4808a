//! Counters → what an operator sees of a run that works: a bar, or every so often a line; and its metrics.
//!
//! Where no object was finished since the last line it says for how long, and which stages have something in hand: a run
//! that hangs is seen, and where. It never changes what the run does.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;
use humantime::format_duration;

use crate::cli::LogFormat;
use crate::limits;
use crate::metrics::Metrics;
use crate::process;
use crate::progress::{Display, Progress, Snapshot, Stage, Tally};

/// What became of a run between two moments.
#[derive(Debug, Clone, Default)]
pub struct Beat {
    pub before: Snapshot,
    pub now: Snapshot,
    /// Since the last object was finished, as far as the beats saw it; none where one was since the last beat.
    pub silence: Option<Duration>,
    /// Of this process; decoders of videos are processes of their own.
    pub resident_bytes: Option<u64>,
}

/// Shows what `progress` counts until it is dropped by the caller: never returns by itself.
pub async fn watch(progress: &Progress, display: &Display, metrics: &Metrics) -> Infallible {
    tokio::join!(draw(progress, display), beat(progress, display, metrics)).1
}

async fn draw(progress: &Progress, display: &Display) {
    let Display::Bar(bar) = display else { return };
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await; // smooth to the eye, nothing to the CPU
        let now = progress.snapshot();
        // Until the listing has ended nobody knows how long the bar is.
        if now.listing_ended {
            bar.set_length(now.listed_objects);
        }
        bar.set_position(now.tally.objects);
        bar.set_message(beside_bar(&now));
    }
}

async fn beat(progress: &Progress, display: &Display, metrics: &Metrics) -> Infallible {
    let (mut before, mut finished_at) = (progress.snapshot(), Duration::ZERO);
    loop {
        tokio::time::sleep(metrics.interval()).await;
        progress.measure();
        let now = progress.snapshot();
        // A plan that is being made lists.
        let stands = now.tally.objects == before.tally.objects && now.listed_objects <= before.listed_objects;
        let silence = stands.then(|| now.elapsed.saturating_sub(finished_at));
        if silence.is_none() {
            finished_at = now.elapsed;
        }
        let beat = Beat { before, now, silence, resident_bytes: process::resident_bytes() };
        beat.log(display);
        metrics.beat(silence);
        before = beat.now;
    }
}

impl Beat {
    /// By how much a count rose.
    #[must_use]
    pub fn rise(&self, count: impl Fn(&Tally) -> u64) -> u64 {
        count(&self.now.tally).saturating_sub(count(&self.before.tally))
    }

    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.now.elapsed.saturating_sub(self.before.elapsed).as_secs_f64()
    }

    /// Of a count, since the last beat.
    #[must_use]
    pub fn per_second(&self, count: impl Fn(&Tally) -> u64) -> f64 {
        self.rise(count) as f64 / self.seconds().max(1e-3)
    }

    fn log(&self, display: &Display) {
        let is_warning = self.silence.is_some_and(|silence| silence.as_secs() >= limits::SILENCE_WARNING_SECS);
        match (display, is_warning) {
            (Display::Lines(LogFormat::Json), _) => self.log_fields(is_warning),
            (_, true) => tracing::warn!("{}", self.line()),
            (Display::Lines(LogFormat::Text), false) => tracing::info!("{}", self.line()),
            (Display::Bar(_) | Display::None, false) => {}
        }
    }

    fn line(&self) -> String {
        let Snapshot { tally, listing_ended, listed_objects, in_flight, .. } = &self.now;
        let (resident, more) = (self.resident_bytes.map(iec), if *listing_ended { "" } else { "+" });
        let mut line = format!("{} of {listed_objects}{more} objects", tally.objects);
        match self.silence {
            Some(silence) => {
                let silence = format_duration(Duration::from_secs(silence.as_secs()));
                let _ = write!(line, ", none finished for {silence}; {in_flight} in flight, {}", self.waiting());
            }
            None => {
                if let Some(left) = time_left(&self.now) {
                    let _ = write!(line, ", {} left", format_duration(left));
                }
                let _ = write!(
                    line,
                    ", {:.1}/s, {}/s; {} frames, {} faces, {} rejected; {in_flight} in flight, {}",
                    self.per_second(|tally| tally.objects),
                    iec(self.per_second(|tally| tally.bytes) as u64),
                    tally.frames,
                    tally.faces,
                    tally.rejected,
                    self.waiting(),
                );
            }
        }
        if let Some(resident) = resident {
            let _ = write!(line, "; {resident} of memory");
        }
        line
    }

    /// What is waited for: every stage that has something in hand.
    fn waiting(&self) -> String {
        let in_hand = Stage::ALL.iter().zip(self.now.at_work).filter(|(_, count)| *count > 0);
        let stages: Vec<String> = in_hand.map(|(stage, count)| format!("{} {count}", stage.as_str())).collect();
        match (stages.is_empty(), self.now.listing_ended) {
            (false, _) => stages.join(", "),
            (true, false) => "waiting for the listing".to_owned(),
            (true, true) => "no stage at work".to_owned(),
        }
    }

    fn log_fields(&self, is_warning: bool) {
        let Snapshot { tally, listing_ended, listed_objects, listed_bytes, in_flight, elapsed, .. } = &self.now;
        let [fetch, decode, detect, embed, encode, write] = self.now.at_work;
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    elapsed_s = elapsed.as_secs(),
                    objects = tally.objects,
                    listed_objects,
                    listing_ended,
                    bytes = tally.bytes,
                    listed_bytes,
                    frames = tally.frames,
                    faces = tally.faces,
                    rejected = tally.rejected,
                    objects_per_s = self.per_second(|tally| tally.objects),
                    bytes_per_s = self.per_second(|tally| tally.bytes),
                    left_s = time_left(&self.now).map(|left| left.as_secs()),
                    silence_s = self.silence.map(|silence| silence.as_secs()),
                    in_flight,
                    fetch,
                    decode,
                    detect,
                    embed,
                    encode,
                    write,
                    resident_bytes = self.resident_bytes,
                    "heartbeat"
                )
            };
        }
        if is_warning { log!(warn) } else { log!(info) }
    }
}

/// The most wanted first: a narrow terminal cuts the end.
fn beside_bar(now: &Snapshot) -> String {
    let Snapshot { tally, listing_ended, listed_objects, listed_bytes, elapsed, .. } = now;
    let more = if *listing_ended { "" } else { "+" };
    let left = time_left(now).map_or(String::new(), |left| format!(", {} left", format_duration(left)));
    format!(
        "{} of {listed_objects}{more} objects{left}, {} faces, {} rejected, {:.1} frames/s, {} of {}{more}",
        tally.objects,
        tally.faces,
        tally.rejected,
        tally.frames as f64 / elapsed.as_secs_f64().max(1e-3),
        iec(tally.bytes),
        iec(*listed_bytes),
    )
}

/// By bytes, once the listing is whole and there is something to judge by.
fn time_left(now: &Snapshot) -> Option<Duration> {
    if !now.listing_ended || now.tally.bytes == 0 {
        return None;
    }
    let bytes_left = now.listed_bytes.saturating_sub(now.tally.bytes);
    let seconds = now.elapsed.as_secs_f64() * bytes_left as f64 / now.tally.bytes as f64;
    Some(Duration::from_secs(seconds.ceil() as u64))
}

fn iec(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Beat, Snapshot};
    use crate::progress::Tally;

    fn at(elapsed_s: u64, objects: u64) -> Snapshot {
        let tally = Tally { objects, bytes: objects << 20, frames: objects, faces: 7, rejected: 2, ..Tally::default() };
        Snapshot {
            elapsed: Duration::from_secs(elapsed_s),
            listed_objects: 400,
            listed_bytes: 400 << 20,
            listing_ended: true,
            in_flight: 26,
            at_work: [24, 2, 0, 0, 0, 0],
            compute_time: None,
            tally,
        }
    }

    #[test]
    fn a_beat_says_how_fast_it_goes_and_what_is_left() {
        let beat = Beat { before: at(30, 40), now: at(60, 100), silence: None, resident_bytes: Some(3 << 20) };
        assert_eq!(
            beat.line(),
            "100 of 400 objects, 3m left, 2.0/s, 2.0 MiB/s; 100 frames, 7 faces, 2 rejected; 26 in flight, fetch 24, \
             decode 2; 3.0 MiB of memory"
        );
    }

    #[test]
    fn a_beat_without_an_object_says_for_how_long_and_what_has_it() {
        let silence = Some(Duration::from_millis(90_400));
        let beat = Beat { before: at(90, 100), now: at(120, 100), silence, resident_bytes: None };
        assert_eq!(beat.line(), "100 of 400 objects, none finished for 1m 30s; 26 in flight, fetch 24, decode 2");
        let nothing_yet = Snapshot { listing_ended: false, at_work: [0; 6], in_flight: 0, ..at(120, 0) };
        let beat = Beat { before: at(90, 0), now: nothing_yet, silence, resident_bytes: None };
        assert_eq!(beat.line(), "0 of 400+ objects, none finished for 1m 30s; 0 in flight, waiting for the listing");
    }
}
