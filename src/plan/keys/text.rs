//! A list of keys with one in each line, of any length.

use std::io::{BufRead, BufReader, Read};

use super::Gathering;
use crate::limits;
use crate::plan::csv_rows;
use crate::tables::stored::PartFile;

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// Hands every line but the empty ones to `gathering`.
///
/// # Errors
/// The first line that is no text or no key, with its number.
pub(super) fn read(part: &PartFile, gathering: &mut Gathering) -> Result<(), String> {
    let mut reader = BufReader::with_capacity(READ_BYTES, part.read_from(0));
    let mut line = vec![];
    for number in 1_u64.. {
        let at = |what: String| format!("line {number}: {what}");
        line.clear();
        let most = limits::LIST_ROW_BYTES as u64;
        let read = (&mut reader).take(most).read_until(b'\n', &mut line).map_err(|e| at(e.to_string()))?;
        if read == 0 {
            break;
        }
        if read == limits::LIST_ROW_BYTES && !line.ends_with(b"\n") {
            return Err(at(format!("expected at most {most} bytes, found more")));
        }
        let mut text = line.strip_suffix(b"\n").unwrap_or(&line);
        text = text.strip_suffix(b"\r").unwrap_or(text);
        if number == 1 {
            text = csv_rows::text(text).map_err(at)?;
        }
        let text = std::str::from_utf8(text).map_err(|_| at("expected UTF-8, found other bytes".to_owned()))?;
        if text.contains('\0') {
            return Err(at("expected text, found a NUL byte, which is in no text".to_owned()));
        }
        // Blanks are part of a key, unless there is nothing else.
        if !text.trim().is_empty() {
            gathering.line(text).map_err(at)?;
        }
    }
    Ok(())
}
