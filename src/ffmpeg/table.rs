//! When each frame of a video is shown, and where decoding can start: what the container says, before anything is
//! decoded. Pure.
//!
//! Times are in units of the stream's time base, as the decoder will print them.

use super::packets::Packet;
use crate::error::{Rejection, RejectionClass};

/// Seconds in one unit of a stream's times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeBase {
    pub num: u32,
    pub den: u32,
}

impl TimeBase {
    #[must_use]
    pub fn seconds(self, units: i64) -> f64 {
        units as f64 * f64::from(self.num) / f64::from(self.den)
    }

    /// As many units as lie in so many seconds, rounded down.
    #[must_use]
    pub fn units(self, seconds: f64) -> i64 {
        (seconds * f64::from(self.den) / f64::from(self.num)).floor() as i64
    }
}

/// The frames of a video in the order in which they are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameTable {
    pub time_base: TimeBase,
    /// When each frame is shown, ascending.
    shown: Vec<i64>,
    /// The frames at which decoding can start, ascending; hidden ones too.
    keys: Vec<KeyFrame>,
    /// When the last frame ends.
    end: i64,
    /// What the seconds of the rows count from.
    start: i64,
    /// Frames are told apart by their number in the order in which a decoder gives them from the beginning, since their
    /// times do not tell them apart; else by their times.
    pub is_counted: bool,
    /// The last frame's time lies so far behind all others that it is taken for a wrong one: it does not stretch the video.
    pub is_stray: bool,
}

/// A frame at which decoding can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct KeyFrame {
    shown: i64,
    /// When it is decoded, which is before it is shown where frames are stored in another order.
    decoded: i64,
    /// Frames that are stored behind it are shown before it, and refer to what lies before it.
    is_open: bool,
}

/// Times beyond this are no times: 285 years of nanoseconds are 2⁶³, and sums of a few such times must not overflow.
pub const MAX_TIME: i64 = 1 << 53;

/// Frames that may be stored behind a key and shown before it: as many as a decoder may reorder, twice.
const MOST_LEADING_FRAMES: usize = 32;

impl FrameTable {
    /// From the packets in any order. `start` is when the container starts, all streams together; without it seconds
    /// count from the first frame.
    ///
    /// # Errors
    /// No frame; more than a video of a day has; packets that do not say when they are shown, or that are shown when
    /// no clock would be.
    pub fn new(time_base: TimeBase, packets: &[Packet], start: Option<i64>) -> Result<Self, Rejection> {
        let corrupt = |what: String| Rejection::new(RejectionClass::Corrupt, what);
        let said = packets.iter().flat_map(|packet| [packet.pts, packet.dts, packet.duration]).chain([start]);
        if let Some(time) = said.flatten().find(|time| !(-MAX_TIME..=MAX_TIME).contains(time)) {
            return Err(corrupt(format!("expected times of at most 2^53 units, found {time}")));
        }
        let times: Vec<(i64, &Packet)> = packets.iter().filter_map(|packet| Some((packet.pts?, packet))).collect();
        let is_open = |at: usize| {
            let group = times[at + 1..].iter().take_while(|(_, packet)| !packet.is_key).take(MOST_LEADING_FRAMES);
            group.into_iter().any(|(shown, packet)| !packet.is_hidden && *shown < times[at].0)
        };
        let mut shown: Vec<i64> = times.iter().filter(|(_, packet)| !packet.is_hidden).map(|(at, _)| *at).collect();
        let key = |(at, (shown, packet)): (usize, &(i64, &Packet))| KeyFrame {
            shown: *shown,
            decoded: packet.dts.map_or(*shown, |dts| dts.min(*shown)),
            is_open: is_open(at),
        };
        let keys = times.iter().enumerate().filter(|(_, (_, packet))| packet.is_key);
        let mut keys: Vec<KeyFrame> = keys.map(key).collect();
        if shown.is_empty() {
            return Err(corrupt(format!("expected frames, found {} packets without a time", packets.len())));
        }
        shown.sort_unstable();
        shown.dedup();
        keys.sort_unstable();
        keys.dedup_by_key(|key| key.shown);
        let last = shown[shown.len() - 1];
        // The last frame's own duration, or that of the frame before it.
        let said = times.iter().find(|(at, _)| *at == last).and_then(|(_, packet)| packet.duration).filter(|d| *d > 0);
        let before = shown.len().checked_sub(2).map(|at| last - shown[at]);
        let end = last.saturating_add(said.or(before).unwrap_or(0));
        let is_stray = ends_in_a_stray(&shown, time_base);
        let start = start.filter(|start| *start <= shown[0]).unwrap_or(shown[0]);
        Ok(Self { time_base, shown, keys, end, start, is_counted: false, is_stray })
    }

    /// From all frames that a decoder gives from the beginning on, in its order, with the times that they are shown at:
    /// strictly ascending. `last` is the duration of the last one.
    ///
    /// # Errors
    /// No frame; a time that no clock would have.
    pub fn counted(
        time_base: TimeBase,
        times: Vec<i64>,
        is_key: &[bool],
        last: i64,
        start: Option<i64>,
    ) -> Result<Self, Rejection> {
        let corrupt = |what: String| Rejection::new(RejectionClass::Corrupt, what);
        let (Some(first), Some(latest)) = (times.first().copied(), times.last().copied()) else {
            return Err(corrupt("expected frames, found none that can be decoded".to_owned()));
        };
        if let Some(time) = [first, latest, last].into_iter().find(|time| !(-MAX_TIME..=MAX_TIME).contains(time)) {
            return Err(corrupt(format!("expected times of at most 2^53 units, found {time}")));
        }
        let keys = times.iter().zip(is_key).filter(|(_, is_key)| **is_key);
        let keys = keys.map(|(time, _)| KeyFrame { shown: *time, decoded: *time, is_open: false }).collect();
        let start = start.filter(|start| *start <= first).unwrap_or(first);
        Ok(Self {
            time_base,
            keys,
            end: latest + last.max(1),
            start,
            is_counted: true,
            is_stray: ends_in_a_stray(&times, time_base),
            shown: times,
        })
    }

    /// Lets go of the frames before `time`: nothing shows them.
    #[must_use]
    pub fn from(mut self, time: i64) -> Self {
        let before = self.shown.partition_point(|shown| *shown < time).min(self.shown.len() - 1);
        self.shown.drain(..before);
        self
    }

    /// The same table, where the decoder's times differ from the container's by a constant: `first` is the time that
    /// it gives the first frame.
    ///
    /// # Errors
    /// A time that no clock would have.
    pub fn shifted_to(mut self, first: i64) -> Result<Self, Rejection> {
        if !(-MAX_TIME..=MAX_TIME).contains(&first) {
            let message = format!("expected times of at most 2^53 units, found {first}");
            return Err(Rejection::new(RejectionClass::Corrupt, message));
        }
        let by = first - self.shown[0];
        self.shown.iter_mut().for_each(|at| *at += by);
        self.keys.iter_mut().for_each(|key| (key.shown, key.decoded) = (key.shown + by, key.decoded + by));
        self.end += by;
        self.start += by;
        Ok(self)
    }

    /// When frames are shown and when the last one ends, in the stream's units.
    #[must_use]
    pub fn times(&self) -> (&[i64], i64) {
        (&self.shown, self.end)
    }

    #[must_use]
    pub fn frames(&self) -> usize {
        self.shown.len()
    }

    /// From the first frame to the end of the last.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        let end = match self.shown.len().checked_sub(2) {
            Some(before) if self.is_stray => self.shown[before] + (self.end - self.shown[before + 1]) * 2,
            _ => self.end,
        };
        self.time_base.seconds(end - self.shown[0])
    }

    /// When a frame is shown, in the stream's units.
    #[must_use]
    pub fn time(&self, frame: usize) -> i64 {
        self.shown[frame]
    }

    /// When something that the decoder gave this time is shown, in seconds from the start of the video.
    #[must_use]
    pub fn pts_s(&self, time: i64) -> f64 {
        self.time_base.seconds(time.saturating_sub(self.start))
    }

    /// The frame that is shown at a time: the last one not after it.
    #[must_use]
    pub fn frame_at(&self, time: i64) -> usize {
        self.shown.partition_point(|shown| *shown <= time).saturating_sub(1)
    }

    /// Frames at which decoding can start, ascending.
    #[must_use]
    pub fn key_frames(&self) -> Vec<usize> {
        self.keys.iter().filter_map(|key| self.shown.binary_search(&key.shown).ok()).collect()
    }

    /// When the frames at which decoding can start are shown, ascending; hidden ones too.
    pub fn key_times(&self) -> impl Iterator<Item = i64> + '_ {
        self.keys.iter().map(|key| key.shown)
    }

    /// The second place at which decoding can start.
    #[must_use]
    pub fn second_key(&self) -> Option<Key> {
        self.keys.get(1).and_then(|key| self.key_before(key.shown))
    }

    /// Where decoding must start for a frame to be had: the time of the key at or before it, and of the one after.
    /// None where that is the beginning.
    #[must_use]
    pub fn key_before(&self, time: i64) -> Option<Key> {
        if self.is_counted {
            return None;
        }
        let after = self.keys.partition_point(|key| key.shown <= time);
        let at = after.checked_sub(1)?;
        let KeyFrame { shown, decoded, is_open } = self.keys[at];
        (at > 0).then(|| Key { time: shown, decoded, is_open, next: self.keys.get(after).map(|key| key.shown) })
    }
}

/// A place where decoding can start, and the next such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// When it is shown.
    pub time: i64,
    /// When it is decoded: not later.
    pub decoded: i64,
    /// Frames that are stored behind it are shown before it.
    pub is_open: bool,
    pub next: Option<i64>,
}

/// Whether the last of ten frames or more is shown a hundred times as long after the others as they take together, and
/// more than a minute: nobody films so.
fn ends_in_a_stray(shown: &[i64], time_base: TimeBase) -> bool {
    let [first, .., before, last] = shown else { return false };
    let (jump, rest) = (last.saturating_sub(*before), before.saturating_sub(*first));
    shown.len() >= 10 && jump > rest.saturating_mul(100) && jump > time_base.units(60.0)
}

#[cfg(test)]
mod tests {
    use super::super::packets::{Packet, packet};
    use super::{FrameTable, Key, TimeBase};

    const TIME_BASE: TimeBase = TimeBase { num: 1, den: 1000 };

    #[test]
    fn frames_count_in_the_order_in_which_they_are_shown_and_hidden_ones_do_not() {
        let packets = [packet(-40, "KD"), packet(80, ""), packet(0, ""), packet(40, ""), packet(120, "K")];
        let table = FrameTable::new(TIME_BASE, &packets, Some(-100)).unwrap();
        assert_eq!((table.frames(), table.time(0), table.time(3)), (4, 0, 120));
        assert_eq!(table.key_frames(), [3]);
        assert!((table.duration_s() - 0.16).abs() < 1e-9);
        assert!((table.pts_s(40) - 0.14).abs() < 1e-9);
        assert_eq!([table.frame_at(-5), table.frame_at(79), table.frame_at(80), table.frame_at(999)], [0, 1, 2, 3]);
        assert_eq!(table.key_before(80), None);
        assert_eq!(table.key_before(130), Some(Key { time: 120, decoded: 120, is_open: false, next: None }));
    }

    #[test]
    fn a_decoder_that_counts_later_than_the_container_shifts_the_whole_table() {
        let table =
            FrameTable::new(TIME_BASE, &[packet(0, "K"), packet(40, "")], None).unwrap().shifted_to(80).unwrap();
        assert_eq!((table.time(0), table.time(1)), (80, 120));
        assert!(table.pts_s(80).abs() < 1e-9 && (table.pts_s(120) - 0.04).abs() < 1e-9);
    }

    #[test]
    fn decoding_starts_where_a_key_is_decoded_and_that_is_before_it_is_shown() {
        let reordered = |pts: i64| Packet { dts: Some(pts - 400), ..packet(pts, "K") };
        let table = FrameTable::new(TIME_BASE, &[reordered(400), reordered(1400)], None).unwrap();
        assert_eq!(table.key_before(1400), Some(Key { time: 1400, decoded: 1000, is_open: false, next: None }));
    }

    #[test]
    fn times_that_no_clock_has_are_refused_before_they_are_added_up() {
        for (pts, duration) in [(i64::MIN, 40), (i64::MAX, 40), (0, i64::MAX)] {
            let packet = Packet { duration: Some(duration), ..packet(pts, "K") };
            assert!(FrameTable::new(TIME_BASE, &[packet], None).is_err(), "{pts} {duration}");
        }
        assert!(FrameTable::new(TIME_BASE, &[packet(0, "K")], Some(i64::MAX)).is_err());
        assert!(FrameTable::new(TIME_BASE, &[packet(0, "K")], None).unwrap().shifted_to(i64::MIN).is_err());
    }

    #[test]
    fn packets_without_times_make_no_table() {
        let packet = Packet { pts: None, ..packet(0, "K") };
        assert!(FrameTable::new(TIME_BASE, &[packet], None).is_err());
    }
}
