//! The packets of a video stream, and whether their times tell its frames apart. Pure.

use super::table::{MAX_TIME, TimeBase};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

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
    /// No decoder can read it.
    pub is_encrypted: bool,
}

/// How far apart decoding and showing of a frame can be: 16 frames of a slow video. More is a wrong time.
const MOST_REORDERED_SECS: f64 = 20.0;

/// Why the times of these packets do not tell which frame is which; None where they do.
#[must_use]
pub fn irregularity(packets: &[Packet], time_base: TimeBase) -> Option<&'static str> {
    let is_no_time = |time: i64| !(-MAX_TIME..=MAX_TIME).contains(&time);
    if packets.iter().flat_map(|packet| [packet.pts, packet.dts]).flatten().any(is_no_time) {
        return Some("a frame has a time that no clock has");
    }
    let most_reordered = time_base.units(MOST_REORDERED_SECS).max(1);
    let mut shown: Vec<i64> = vec![];
    let mut decoded = i64::MIN;
    for packet in packets {
        if let Some(dts) = packet.dts {
            if dts < decoded {
                return Some("the clock goes back, as where recordings were joined");
            }
            decoded = dts;
        }
        match (packet.pts, packet.dts) {
            (None, _) if packet.is_hidden => {}
            (None, _) => return Some("some frames have no time"),
            (Some(pts), Some(dts)) if pts.saturating_sub(dts).saturating_abs() > most_reordered => {
                return Some("a frame's time is far from the time of its neighbours");
            }
            (Some(pts), _) if !packet.is_hidden => shown.push(pts),
            (Some(_), _) => {}
        }
    }
    shown.sort_unstable();
    shown.windows(2).any(|pair| pair[0] == pair[1]).then_some("several frames have the same time")
}

/// Whether the first frames that are stored may be ones that nothing shows, since what they refer to lies before the
/// beginning: the first is no key, or frames that follow the first key are shown before it.
#[must_use]
pub fn begins_in_the_middle(packets: &[Packet]) -> bool {
    let Some(first) = packets.first() else { return false };
    let Some(key) = first.pts.filter(|_| first.is_key) else { return true };
    let second_key = packets.iter().skip(1).position(|packet| packet.is_key).map_or(packets.len(), |at| at + 1);
    packets[..second_key].iter().any(|packet| !packet.is_hidden && packet.pts.is_some_and(|pts| pts < key))
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

/// For tests: a packet shown at `pts` for 40 units; `flags` as ffprobe prints them.
#[cfg(test)]
pub(super) fn packet(pts: i64, flags: &str) -> Packet {
    Packet {
        pts: Some(pts),
        dts: None,
        duration: Some(40),
        is_key: flags.contains('K'),
        is_hidden: flags.contains('D'),
        is_encrypted: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_BASE: TimeBase = TimeBase { num: 1, den: 1000 };

    #[test]
    fn times_that_do_not_tell_frames_apart_are_noticed() {
        let at = |pts: i64| Packet { dts: Some(pts), ..packet(pts, "") };
        let steady: Vec<Packet> = (0..50).map(|i| at(i * 40)).collect();
        assert_eq!(irregularity(&steady, TIME_BASE), None);
        let reordered = [(0, 0), (120, 40), (80, 80), (200, 120)];
        let reordered: Vec<Packet> =
            reordered.iter().map(|&(pts, dts)| Packet { dts: Some(dts), ..packet(pts, "") }).collect();
        assert_eq!(irregularity(&reordered, TIME_BASE), None);
        let joined = [&steady[..], &steady[..30]].concat();
        let twice = [&steady[..], &steady[49..]].concat();
        let none = [&steady[..], &[Packet { pts: None, ..steady[0] }]].concat();
        let wild = [&steady[..], &[Packet { dts: Some(2_000), ..packet(9_000_000, "") }]].concat();
        for packets in [joined, twice, none, wild] {
            assert!(irregularity(&packets, TIME_BASE).is_some(), "{:?}", packets.last());
        }
    }

    #[test]
    fn a_recording_that_begins_in_the_middle_is_noticed() {
        let open = [packet(80, "K"), packet(0, ""), packet(40, ""), packet(120, "")];
        assert!(begins_in_the_middle(&open));
        assert!(begins_in_the_middle(&open[1..]));
        let hidden = [packet(80, "K"), packet(0, "D"), packet(120, "")];
        assert!(!begins_in_the_middle(&hidden));
        let later = [packet(0, "K"), packet(120, "K"), packet(80, "")];
        assert!(!begins_in_the_middle(&later));
    }
}
