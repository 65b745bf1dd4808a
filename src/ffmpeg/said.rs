//! What a child says on standard error, line by line: times of frames for the decoder, complaints for the row.
//!
//! Whatever the child prints, this holds a bounded piece of it, and no byte that a terminal or a log would obey.

use std::collections::VecDeque;

/// Complaints that are kept; a broken stream repeats itself.
const MAX_COMPLAINTS: usize = 20;
/// Characters of each.
const MAX_COMPLAINT_CHARS: usize = 400;
/// Bytes of a line; the rest of it is not kept.
const MAX_LINE_BYTES: usize = 4096;
/// Lines of frames that nobody has taken: the output pipe holds fewer frames of the smallest size.
const MAX_FRAME_LINES: usize = 100_000;

/// How ffmpeg's filter `metadata` begins the line of a frame.
const FRAME: &str = "frame:";

#[derive(Debug, Default)]
pub struct Said {
    line: Vec<u8>,
    frames: VecDeque<String>,
    complaints: Vec<String>,
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
            self.flooded |= self.frames.len() >= MAX_FRAME_LINES;
            if !self.flooded {
                self.frames.push_back(line);
            }
        } else if self.complaints.len() < MAX_COMPLAINTS && !is_of_a_frame(&line) {
            let complaint = one_line(&line);
            if !complaint.is_empty() {
                self.complaints.push(complaint);
            }
        }
    }

    /// The next line of a frame.
    pub fn take_frame(&mut self) -> Option<String> {
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
            assert_eq!(said.take_frame().as_deref(), Some("frame:0    pts:512 pts_time:0.04"));
            assert_eq!(said.take_frame().as_deref(), Some("frame:1 pts:1024"));
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
    fn frames_without_end_are_noticed() {
        let text = "frame:0 pts:0\n".repeat(MAX_FRAME_LINES + 1);
        assert!(said(text.as_bytes(), 4096).flooded());
    }
}
