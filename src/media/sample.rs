//! When frames are shown → which of them are wanted, and in which pieces they are decoded. Pure.

use std::fmt;
use std::time::Duration;

use crate::error::{Rejection, RejectionClass};
use crate::ffmpeg::segment::Segment;
use crate::ffmpeg::table::{FrameTable, TimeBase};
use crate::limits;

/// How videos and animations are looked at.
#[derive(Debug, Clone, Copy)]
pub struct SamplingSettings {
    pub sampling: Sampling,
    /// Of one media.
    pub max_frames: u32,
}

impl SamplingSettings {
    /// # Errors
    /// More wanted frames than are allowed.
    pub fn check(self, wanted: &[usize]) -> Result<(), Rejection> {
        if wanted.len() <= self.max_frames as usize {
            return Ok(());
        }
        Err(Rejection::new(
            RejectionClass::TooLarge,
            format_args!(
                "expected at most {} requested frames (--max-frames), found {}; take --frames or --every",
                self.max_frames,
                wanted.len()
            ),
        ))
    }
}

/// Which frames of a video are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// So many, each shown in the middle of one of as many equal parts of the video's time: neither the black frame
    /// at its start nor the one at its end.
    Frames(u32),
    /// The first, and each that is shown a multiple of this time later.
    Every(Duration),
    /// Those that the container marks as decodable alone.
    Keyframes,
    All,
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames(count) => write!(f, "{count} frames"),
            Self::Every(time) => write!(f, "every {}", humantime::format_duration(*time)),
            Self::Keyframes => write!(f, "keyframes"),
            Self::All => write!(f, "all frames"),
        }
    }
}

impl Sampling {
    /// The setting that asks for it, and its value.
    #[must_use]
    pub fn setting(self) -> (&'static str, String) {
        match self {
            Self::Frames(count) => ("frames", count.to_string()),
            Self::Every(time) => ("every", humantime::format_duration(time).to_string()),
            Self::Keyframes => ("keyframes", true.to_string()),
            Self::All => ("all_frames", true.to_string()),
        }
    }

    /// The wanted frames, ascending, each once. Counted in whole units, so that a step which ends where a frame begins
    /// takes that frame and not, by a rounded digit, the one before it.
    pub fn wanted(self, shown: Shown, keyframes: impl FnOnce() -> Vec<usize>) -> Vec<usize> {
        let frames = shown.starts.len();
        let mut wanted: Vec<usize> = match self {
            Self::Frames(count) if frames <= count as usize => (0..frames).collect(),
            Self::Frames(count) => shown.spread(count as usize),
            Self::Every(time) => (0..frames).filter(|frame| shown.has_step(*frame, time)).collect(),
            Self::Keyframes => keyframes(),
            Self::All => (0..frames).collect(),
        };
        wanted.dedup();
        wanted
    }

    /// The wanted frames of a video.
    #[must_use]
    pub fn of_video(self, table: &FrameTable) -> Vec<usize> {
        let (starts, end) = table.times();
        self.wanted(Shown { starts, end, time_base: table.time_base }, || table.key_frames())
    }
}

/// When the frames of something that moves are shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Ascending, at least one.
    pub starts: &'a [i64],
    /// When the last one ends.
    pub end: i64,
    pub time_base: TimeBase,
}

impl Shown<'_> {
    /// `count` different frames of more than that: those in the middle of equal parts of the time. Where that gives a frame
    /// twice, as in a pause or before a wrong time, frames that are on the screen for longer than a part count as if they
    /// were shown for one part: no pause takes frames from the rest.
    fn spread(&self, count: usize) -> Vec<usize> {
        let length = i128::from(self.end - self.starts[0]);
        let middle = |part: usize| (2 * part as i128 + 1) * length / (2 * count as i128);
        let frames: Vec<usize> = (0..count).map(|part| self.frame_at(middle(part))).collect();
        if frames.is_sorted_by(|a, b| a < b) { frames } else { self.spread_without_pauses(count) }
    }

    /// The frame that is shown so many units after the first.
    fn frame_at(&self, units: i128) -> usize {
        let first = i128::from(self.starts[0]);
        self.starts.partition_point(|start| i128::from(*start) - first <= units).saturating_sub(1)
    }

    fn spread_without_pauses(&self, count: usize) -> Vec<usize> {
        let next = self.starts.iter().skip(1).copied().chain([self.end]);
        let shown_for: Vec<i128> =
            self.starts.iter().zip(next).map(|(start, next)| i128::from(next.saturating_sub(*start).max(1))).collect();
        let mut longest = shown_for.clone();
        longest.sort_unstable_by(|a, b| b.cmp(a));
        // With `long` frames cut to one part each, a part is `rest / parts` units long; times are multiplied by `parts`.
        let (mut rest, mut parts) = (shown_for.iter().sum::<i128>(), count as i128);
        for long in longest.into_iter().take(count.saturating_sub(1)) {
            if long * parts <= rest {
                break;
            }
            (rest, parts) = (rest - long, parts - 1);
        }
        let mut frames = Vec::with_capacity(count);
        let mut end = 0;
        for (frame, shown_for) in shown_for.into_iter().enumerate() {
            end += (shown_for * parts).min(rest);
            while frames.len() < count && (2 * frames.len() as i128 + 1) * rest < 2 * end {
                frames.push(frame);
            }
        }
        frames
    }

    /// Whether the frame is on the screen at the beginning, or a whole number of such times after it.
    fn has_step(&self, frame: usize, time: Duration) -> bool {
        let TimeBase { num, den } = self.time_base;
        // A step is `step` / `part` units long; 2^53 units, the most that there are, fit in with room to spare.
        let (step, part) = (time.as_nanos() as i128 * i128::from(den), i128::from(num) * 1_000_000_000);
        let from_first = |at: i64| i128::from(at - self.starts[0]) * part;
        let begin = from_first(self.starts[frame]);
        let end = self.starts.get(frame + 1).map_or(from_first(self.end).max(begin + 1), |next| from_first(*next));
        let next_step = (begin + step - 1) / step * step;
        next_step < end
    }
}

/// The pieces in which `wanted` frames are decoded: a piece ends where starting a decoder at the next key costs less
/// than decoding on. `frame_pixels` says how much a frame costs.
#[must_use]
pub fn segments(wanted: &[usize], table: &FrameTable, sampling: Sampling, frame_pixels: u64) -> Vec<Segment> {
    let keys_only = sampling == Sampling::Keyframes;
    let worth_a_start = (limits::DECODER_START_PIXELS / frame_pixels.max(1)).max(2) as usize;
    let mut segments: Vec<Segment> = vec![];
    for &frame in wanted {
        let key = table.key_before(table.time(frame));
        if let Some(segment) = segments.last_mut() {
            let last = segment.last_wanted();
            // Decoding could start again between the last wanted frame and this one.
            let skipped = key.map_or(0, |key| table.frame_at(key.time).saturating_sub(last));
            let full = segment.runs.len() >= limits::SEGMENT_RUNS && frame > last + 1;
            let goes_on = if keys_only || skipped == 0 { !full } else { skipped < worth_a_start && !full };
            if goes_on {
                segment.push(frame);
                continue;
            }
        }
        segments.push(Segment::new(key, frame, keys_only));
    }
    segments
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Sampling, Shown, segments};
    use crate::ffmpeg::packets::Packet;
    use crate::ffmpeg::table::{FrameTable, TimeBase};

    /// 25 frames a second, a key every `gop` frames.
    fn table(frames: i64, gop: i64) -> FrameTable {
        let packet = |i: i64| Packet {
            pts: Some(i * 40),
            dts: None,
            duration: Some(40),
            is_key: i % gop == 0,
            is_hidden: false,
            is_encrypted: false,
        };
        let packets: Vec<Packet> = (0..frames).map(packet).collect();
        FrameTable::new(TimeBase { num: 1, den: 1000 }, &packets, None).unwrap()
    }

    #[test]
    fn frames_are_spread_over_the_middles_of_equal_parts() {
        let table = table(100, 50);
        assert_eq!(Sampling::Frames(4).of_video(&table), [12, 37, 62, 87]);
        assert_eq!(Sampling::Frames(1).of_video(&table), [50]);
        assert_eq!(Sampling::Frames(200).of_video(&table).len(), 100);
        assert_eq!(Sampling::Frames(99).of_video(&table).len(), 99);
    }

    #[test]
    fn a_pause_or_a_wrong_time_takes_no_frame_from_the_rest() {
        let spread = |starts: &[i64], end, count| {
            let time_base = TimeBase { num: 1, den: 1000 };
            Sampling::Frames(count).wanted(Shown { starts, end, time_base }, Vec::new)
        };
        let steady: Vec<i64> = (0..100).map(|frame| frame * 40).collect();
        let pause: Vec<i64> = steady.iter().map(|time| if *time < 2_000 { *time } else { time + 60_000 }).collect();
        let wrong = [&steady[..99], &[200_003_960]].concat();
        for (starts, end) in [(&pause, 64_000), (&wrong, 200_004_000)] {
            for count in [1, 2, 4, 8, 32, 64, 99] {
                let frames = spread(starts, end, count);
                assert_eq!(frames.len(), count as usize);
                assert!(frames.is_sorted_by(|a, b| a < b), "{count}: {frames:?}");
                let most = 2 * 100_usize.div_ceil(count as usize) + 1;
                assert!(frames.windows(2).all(|pair| pair[1] - pair[0] <= most), "{count}: {frames:?}");
            }
        }
        assert_eq!(spread(&[0, 1], 1_000_000, 1), [1]);
        assert_eq!(spread(&[0, 10, 1_000], 2_000, 2), [1, 2]);
    }

    #[test]
    fn steps_start_with_the_first_frame_and_give_none_twice() {
        let table = table(60, 50);
        assert_eq!(Sampling::Every(Duration::from_secs(1)).of_video(&table), [0, 25, 50]);
        assert_eq!(Sampling::Every(Duration::from_millis(10)).of_video(&table).len(), 60);
        assert_eq!(Sampling::Keyframes.of_video(&table), [0, 50]);
        assert_eq!(Sampling::All.of_video(&table).len(), 60);
    }

    #[test]
    fn a_step_that_ends_where_a_frame_begins_takes_that_frame() {
        // 240 ms are six frames of 40 ms; as fractions of a second their sums end on either side.
        let table = table(1500, 50);
        let wanted = Sampling::Every(Duration::from_millis(240)).of_video(&table);
        assert_eq!(wanted, (0..250).map(|step| step * 6).collect::<Vec<_>>());
    }

    #[test]
    fn small_steps_go_on_to_the_end_of_a_long_video() {
        let slow = |i: i64| Packet {
            pts: Some(i * 10_000),
            dts: None,
            duration: Some(10_000),
            is_key: true,
            is_hidden: false,
            is_encrypted: false,
        };
        let packets: Vec<Packet> = (0..720).map(slow).collect();
        let table = FrameTable::new(TimeBase { num: 1, den: 1000 }, &packets, None).unwrap();
        assert_eq!(Sampling::Every(Duration::from_millis(1)).of_video(&table).len(), 720);
        assert_eq!(Sampling::Every(Duration::from_secs(7200)).of_video(&table), [0]);
    }

    #[test]
    fn a_piece_ends_where_a_key_saves_more_than_a_start_costs() {
        let table = table(10_000, 250);
        let wanted = Sampling::Frames(32).of_video(&table);
        let pieces = segments(&wanted, &table, Sampling::Frames(32), 1920 * 1080);
        assert!(pieces.len() > 25, "{}", pieces.len());
        let small = segments(&wanted, &table, Sampling::Frames(32), 64 * 64);
        assert_eq!(small.len(), 1);
        let all: Vec<usize> = (0..10_000).collect();
        assert_eq!(segments(&all, &table, Sampling::All, 1920 * 1080).len(), 1);
    }

    #[test]
    fn every_wanted_frame_is_in_one_piece_and_no_piece_is_longer_than_a_command_line() {
        let table = table(20_000, 25);
        for sampling in [Sampling::Every(Duration::from_millis(80)), Sampling::Keyframes, Sampling::Frames(999)] {
            let wanted = sampling.of_video(&table);
            let pieces = segments(&wanted, &table, sampling, 320 * 240);
            let had: usize = pieces.iter().map(|piece| piece.wanted()).sum();
            assert_eq!(had, wanted.len());
            assert!(pieces.iter().all(|piece| piece.runs.len() <= crate::limits::SEGMENT_RUNS));
        }
    }
}
