//! When each frame of a video is shown, and where decoding can start: what the container says, before anything is
//! decoded. Pure.
//!
//! Times are in units of the stream's time base, as the decoder will print them.

use crate::error::{Rejection, RejectionClass};
use crate::limits;

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

/// One packet of the video stream; each holds one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    pub duration: Option<i64>,
    /// Decoding can start here.
    pub is_key: bool,
    /// An edit list hides it: it is decoded and not shown.
    pub is_hidden: bool,
}

/// The frames of a video in the order in which they are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameTable {
    pub time_base: TimeBase,
    /// When each frame is shown, ascending.
    shown: Vec<i64>,
    /// When the frames are shown at which decoding can start, ascending; hidden ones too.
    keys: Vec<i64>,
    /// When the last frame ends.
    end: i64,
    /// What the seconds of the rows count from.
    start: i64,
}

impl FrameTable {
    /// From the packets in any order. `start` is when the container starts, all streams together; without it seconds
    /// count from the first frame.
    ///
    /// # Errors
    /// No frame; more than a video of a day has; packets that do not say when they are shown.
    pub fn new(time_base: TimeBase, packets: &[Packet], start: Option<i64>) -> Result<Self, Rejection> {
        let corrupt = |what: String| Rejection::new(RejectionClass::Corrupt, what);
        let times: Vec<(i64, &Packet)> = packets.iter().filter_map(|packet| Some((packet.pts?, packet))).collect();
        let mut shown: Vec<i64> = times.iter().filter(|(_, packet)| !packet.is_hidden).map(|(at, _)| *at).collect();
        let mut keys: Vec<i64> = times.iter().filter(|(_, packet)| packet.is_key).map(|(at, _)| *at).collect();
        if shown.is_empty() {
            return Err(corrupt(format!("expected frames, found {} packets without a time", packets.len())));
        }
        shown.sort_unstable();
        shown.dedup();
        keys.sort_unstable();
        keys.dedup();
        let last = shown[shown.len() - 1];
        // The last frame's own duration, or that of the frame before it.
        let said = times.iter().find(|(at, _)| *at == last).and_then(|(_, packet)| packet.duration).filter(|d| *d > 0);
        let before = shown.len().checked_sub(2).map(|at| last - shown[at]);
        let end = last.saturating_add(said.or(before).unwrap_or(0));
        let start = start.filter(|start| *start <= shown[0]).unwrap_or(shown[0]);
        Ok(Self { time_base, shown, keys, end, start })
    }

    /// The same table, where the decoder's times differ from the container's by a constant: `first` is the time that
    /// it gives the first frame.
    #[must_use]
    pub fn shifted_to(mut self, first: i64) -> Self {
        let by = first - self.shown[0];
        self.shown.iter_mut().chain(&mut self.keys).for_each(|at| *at += by);
        self.end += by;
        self.start += by;
        self
    }

    #[must_use]
    pub fn frames(&self) -> usize {
        self.shown.len()
    }

    /// From the first frame to the end of the last.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.time_base.seconds(self.end - self.shown[0])
    }

    /// When a frame is shown, in the stream's units.
    #[must_use]
    pub fn time(&self, frame: usize) -> i64 {
        self.shown[frame]
    }

    /// When something that the decoder gave this time is shown, in seconds from the start of the video.
    #[must_use]
    pub fn pts_s(&self, time: i64) -> f64 {
        self.time_base.seconds(time - self.start)
    }

    /// The frame that is shown at a time: the last one not after it.
    #[must_use]
    pub fn frame_at(&self, time: i64) -> usize {
        self.shown.partition_point(|shown| *shown <= time).saturating_sub(1)
    }

    /// The frame that is shown so many seconds after the first.
    #[must_use]
    pub fn frame_after(&self, seconds: f64) -> usize {
        self.frame_at(self.shown[0].saturating_add(self.time_base.units(seconds)))
    }

    /// Frames at which decoding can start, ascending.
    #[must_use]
    pub fn key_frames(&self) -> Vec<usize> {
        self.keys.iter().filter_map(|key| self.shown.binary_search(key).ok()).collect()
    }

    /// Where decoding must start for a frame to be had: the time of the key at or before it, and of the one after.
    /// None where that is the beginning.
    #[must_use]
    pub fn key_before(&self, time: i64) -> Option<Key> {
        let after = self.keys.partition_point(|key| *key <= time);
        let at = after.checked_sub(1)?;
        (at > 0).then(|| Key { time: self.keys[at], next: self.keys.get(after).copied() })
    }
}

/// A place where decoding can start, and the next such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub time: i64,
    pub next: Option<i64>,
}

/// # Errors
/// More packets than a table is made of.
pub fn check_packets(packets: usize) -> Result<(), Rejection> {
    if packets <= limits::MAX_VIDEO_PACKETS {
        return Ok(());
    }
    Err(Rejection::new(
        RejectionClass::TooLarge,
        format_args!("expected a video of at most {} frames, found more", limits::MAX_VIDEO_PACKETS),
    ))
}

#[cfg(test)]
mod tests {
    use super::{FrameTable, Key, Packet, TimeBase};

    const TIME_BASE: TimeBase = TimeBase { num: 1, den: 1000 };

    fn packet(pts: i64, flags: &str) -> Packet {
        Packet {
            pts: Some(pts),
            dts: None,
            duration: Some(40),
            is_key: flags.contains('K'),
            is_hidden: flags.contains('D'),
        }
    }

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
        assert_eq!(table.key_before(130), Some(Key { time: 120, next: None }));
    }

    #[test]
    fn a_decoder_that_counts_later_than_the_container_shifts_the_whole_table() {
        let table = FrameTable::new(TIME_BASE, &[packet(0, "K"), packet(40, "")], None).unwrap().shifted_to(80);
        assert_eq!((table.time(0), table.time(1)), (80, 120));
        assert!(table.pts_s(80).abs() < 1e-9 && (table.pts_s(120) - 0.04).abs() < 1e-9);
    }

    #[test]
    fn packets_without_times_make_no_table() {
        let packet = Packet { pts: None, ..packet(0, "K") };
        assert!(FrameTable::new(TIME_BASE, &[packet], None).is_err());
    }
}
