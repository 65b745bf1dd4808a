//! A piece of a video that one decoder goes through, and the words that make ffmpeg do so.

use super::formats::Seeks;
use super::table::{FrameTable, Key};

/// Wanted frames that are decoded together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where decoding starts; none: at the beginning.
    pub key: Option<Key>,
    /// Wanted frames, as runs of successive ones: first and last of each.
    pub runs: Vec<(usize, usize)>,
    /// Only key frames are wanted: others need not be decoded.
    pub keys_only: bool,
}

impl Segment {
    #[must_use]
    pub fn new(key: Option<Key>, frame: usize, keys_only: bool) -> Self {
        Self { key, runs: vec![(frame, frame)], keys_only }
    }

    /// Adds a frame behind the last one.
    pub fn push(&mut self, frame: usize) {
        match self.runs.last_mut() {
            Some((_, last)) if *last + 1 == frame => *last = frame,
            _ => self.runs.push((frame, frame)),
        }
    }

    #[must_use]
    pub fn last_wanted(&self) -> usize {
        self.runs.last().map_or(0, |(_, last)| *last)
    }

    /// How many frames are wanted.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The wanted frames, ascending.
    pub fn frames(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Where ffmpeg is to seek to, in seconds, so that it lands on the key. Some demuxers land on the packet that is decoded
    /// then or last before it, the others on the key that is shown then or last before it. Where frames are shown in
    /// another order than they are stored (`reorders`) ffmpeg goes back by 3/23 s before it asks a demuxer that counts in
    /// decoding times.
    #[must_use]
    pub fn seek_s(&self, table: &FrameTable, seeks: Seeks, reorders: bool) -> Option<f64> {
        const GOES_BACK_S: f64 = 3.0 / 23.0;
        /// No two frames are so close, and times are rounded to less.
        const A_LITTLE_S: f64 = 0.001;
        let Key { time, decoded, next, .. } = self.key?;
        match seeks {
            Seeks::Never => None,
            // On the key itself: whatever is decoded before it is broken, and said to be.
            Seeks::ToPackets => {
                let back_s = if reorders { GOES_BACK_S } else { 0.0 };
                Some(table.time_base.seconds(decoded) + back_s + A_LITTLE_S)
            }
            Seeks::ToKeys => {
                let half_way_s = next.map_or(f64::MAX, |next| table.time_base.seconds((next - time - 1) / 2));
                Some(table.time_base.seconds(time) + (GOES_BACK_S + 0.01).min(half_way_s))
            }
        }
    }

    /// The expression of ffmpeg's `select` for the wanted frames: by their number where frames are counted, else by their
    /// time. ffmpeg takes the next frame for one that does not come at its time.
    #[must_use]
    pub fn select(&self, table: &FrameTable) -> String {
        let term = |(first, last): &(usize, usize)| {
            if table.is_counted {
                return if first == last { format!("eq(n,{first})") } else { format!("between(n,{first},{last})") };
            }
            let (from, to) = (table.time(*first), table.time(*last));
            let next = format!("gte(pts,{from})*(isnan(prev_selected_pts)+lt(prev_selected_pts,{from}))");
            if first == last { next } else { format!("{next}+between(pts,{from},{to})") }
        };
        // In groups: ffmpeg walks a sum of thousands of terms as deep as it is long.
        let terms: Vec<String> = self.runs.iter().map(term).collect();
        let groups: Vec<String> = terms.chunks(64).map(|terms| format!("({})", terms.join("+"))).collect();
        groups.join("+")
    }
}
