//! What a child says on standard error, line by line: times of frames for the decoder, complaints for the row.
//!
//! Whatever the child prints, this holds a bounded piece of it, and no byte that a terminal or a log would obey.

use std::collections::VecDeque;

use super::complaint::{Severity, severity};
use super::formats::CODECS;

/// Complaints that are kept; a broken stream repeats itself.
const MAX_COMPLAINTS: usize = 20;
/// Characters of each.
const MAX_COMPLAINT_CHARS: usize = 400;
/// Bytes of a line; the rest of it is not kept.
const MAX_LINE_BYTES: usize = 4096;
/// Times of frames that nobody has taken: the output pipe holds fewer frames of any size that is filmed. 1.6 MB.
const MAX_FRAMES: usize = 100_000;

/// How ffmpeg's filter `metadata` begins the line of a frame.
const FRAME: &str = "frame:";

/// What is said of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaidFrame {
    /// When it is shown, in the stream's units; it may have no time.
    pub time: Option<i64>,
    /// The worst complaint before it, from the decoder's start on.
    pub worst: Severity,
}

#[derive(Debug, Default)]
pub struct Said {
    line: Vec<u8>,
    frames: VecDeque<SaidFrame>,
    complaints: Vec<String>,
    worst: Severity,
    /// Whether the last thing that ffmpeg logged was about another stream.
    elsewhere: bool,
    flooded: bool,
}

impl Said {
    /// Takes the next bytes.
    pub fn hear(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n");
            let room = MAX_LINE_BYTES - self.line.len();
            let kept = text.unwrap_or(piece);
            self.line.extend_from_slice(&kept[..kept.len().min(room)]);
            if text.is_some() {
                self.end_line();
            }
        }
    }

    /// Takes what came without the end of its line.
    pub fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if line.starts_with(FRAME) {
            self.flooded |= self.frames.len() >= MAX_FRAMES;
            if !self.flooded {
                self.frames.push_back(SaidFrame { time: time_of(&line), worst: self.worst });
            }
        } else if !is_of_a_frame(&line) && !is_of_the_output(&line) {
            self.elsewhere = is_of_another_stream(&line) || self.elsewhere && is_repetition(&line);
            let complaint = one_line(&line);
            if !self.elsewhere && !complaint.is_empty() && !is_repetition(&complaint) {
                self.worst = self.worst.max(severity(&complaint));
                if self.complaints.len() < MAX_COMPLAINTS {
                    self.complaints.push(complaint);
                }
            }
        }
    }

    /// What is said of the next frame.
    pub fn take_frame(&mut self) -> Option<SaidFrame> {
        self.frames.pop_front()
    }

    /// Whether more was said of frames than there can be.
    #[must_use]
    pub fn flooded(&self) -> bool {
        self.flooded
    }

    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

/// The filter prints `key=value` below the line of its frame.
fn is_of_a_frame(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| !key.is_empty() && !key.contains(char::is_whitespace))
}

/// Frames come out with the times that they have, and those may be wrong: what is written is pixels, which have none.
fn is_of_the_output(line: &str) -> bool {
    line.contains("non monotonically increasing dts to muxer") || line.contains("changing video frame properties")
}

/// `frame:0    pts:307200  pts_time:24`
fn time_of(line: &str) -> Option<i64> {
    line.split_whitespace().find_map(|word| word.strip_prefix("pts:"))?.parse().ok()
}

/// ffmpeg looks at every stream, and says of sound and subtitles that their codecs are not on the list. The video's own
/// codec is: a decoder of that which is not (`libopenh264`, `libaom-av1`) is a complaint.
fn is_of_another_stream(line: &str) -> bool {
    let named = line.split_once("Codec (").and_then(|(_, rest)| rest.split_once(") not on whitelist"));
    named.is_some_and(|(decoder, _)| !CODECS.iter().any(|codec| decoder.contains(codec.name)))
}

/// ffmpeg counts what it would say twice.
fn is_repetition(line: &str) -> bool {
    line.trim_start().starts_with("Last message repeated ")
}

/// Printable, bounded, and the same in every run: `[h264 @ 0x5581d2c4]` names an address, which no two runs share.
fn one_line(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line.trim();
    while let Some((before, behind)) = rest.split_once(" @ 0x") {
        plain.push_str(before);
        rest = behind.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    plain.push_str(rest);
    plain.chars().take(MAX_COMPLAINT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &[u8], piece_bytes: usize) -> Said {
        let mut said = Said::default();
        text.chunks(piece_bytes).for_each(|piece| said.hear(piece));
        said.end_line();
        said
    }

    #[test]
    fn lines_are_told_apart_however_they_come() {
        let text = b"frame:0    pts:512 pts_time:0.04\nk=v\n[h264 @ 0x55f1e0] no frame!\nframe:1 pts:1024\n\nlast";
        for piece_bytes in [1, 2, 7, 4096] {
            let mut said = said(text, piece_bytes);
            assert_eq!(said.complaints(), ["[h264] no frame!", "last"]);
            assert_eq!(said.take_frame(), Some(SaidFrame { time: Some(512), worst: Severity::None }));
            assert_eq!(said.take_frame(), Some(SaidFrame { time: Some(1024), worst: Severity::Damage }));
            assert_eq!(said.take_frame(), None);
        }
    }

    #[test]
    fn a_flood_is_held_to_its_bounds() {
        let mut text = vec![b'x'; 1 << 20];
        text.extend("\ncomplaint \x1b[31m".repeat(1000).bytes());
        let said = said(&text, 1000);
        assert_eq!(said.complaints().len(), MAX_COMPLAINTS);
        assert!(said.complaints().iter().all(|line| line.len() <= MAX_COMPLAINT_CHARS), "{:?}", said.complaints());
        assert!(said.complaints().iter().all(|line| !line.contains('\x1b')), "{:?}", said.complaints());
    }

    #[test]
    fn frames_without_end_are_noticed_and_not_kept() {
        let line = format!("frame:0 pts:0{}\n", " ".repeat(100));
        let said = said(line.repeat(MAX_FRAMES + 1).as_bytes(), 4096);
        assert!(said.flooded());
        assert!(said.frames.capacity() * size_of::<SaidFrame>() < 8 << 20, "{}", said.frames.capacity());
    }

    #[test]
    fn the_time_of_a_frame_is_read_from_what_the_filter_prints() {
        assert_eq!(time_of("frame:0    pts:307200  pts_time:24"), Some(307_200));
        assert_eq!(time_of("frame:12   pts:-40     pts_time:-0.04"), Some(-40));
        assert_eq!(time_of("frame:0    pts:NOPTS   pts_time:NOPTS"), None);
    }

    #[test]
    fn codecs_of_other_streams_are_no_complaint_and_decoders_of_the_video_are() {
        let refused = |decoder: &str| format!("[{decoder} @ 0x55] Codec ({decoder}) not on whitelist 'h264,hevc'\n");
        let text: String = ["aac", "libopus", "srt", "libopenh264", "png"].map(refused).concat();
        let repeated = "    Last message repeated 2 times\n";
        let format = "[hls @ 0x55] Format not on whitelist 'mov'\n";
        let expected =
            ["[libopenh264] Codec (libopenh264) not on whitelist 'h264,hevc'", "[hls] Format not on whitelist 'mov'"];
        assert_eq!(said((text + repeated + format).as_bytes(), 4096).complaints(), expected);
    }
}
