//! CSV of any length → its rows, one in memory at a time.
//!
//! In: bytes as they come out of a file. Out: records, as they stand there. No row is passed over, and none grows without
//! end where a quote was left open.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};

use crate::limits;

/// Set behind the end: a quote that is left open swallows it.
const END: &[u8] = b"\n\0end\n";

/// A row that cannot be used, and where it is.
#[derive(Debug)]
pub(super) struct BadRow {
    /// From 1, counted without empty lines.
    pub row: u64,
    pub at_byte: u64,
    pub what: String,
}

/// Hands every row to `each`.
///
/// # Errors
/// The first that is no CSV, or that `each` refuses.
pub(super) fn read(
    mut input: impl Read,
    delimiter: u8,
    mut each: impl FnMut(&ByteRecord) -> Result<(), String>,
) -> Result<(), BadRow> {
    let mut start = vec![];
    let begun = (&mut input).take(3).read_to_end(&mut start);
    begun.map_err(|e| BadRow { row: 1, at_byte: 0, what: e.to_string() })?;
    let start = text(&start).map_err(|what| BadRow { row: 1, at_byte: 0, what })?;
    let left = Rc::new(Cell::new(0));
    let bounded = Bounded { inner: start.chain(input).chain(END), left: Rc::clone(&left) };
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bounded);
    let (mut record, mut row, mut at_byte) = (ByteRecord::new(), 0, 0);
    loop {
        row += 1;
        left.set(limits::LIST_ROW_BYTES);
        let bad = |at_byte, what| Err(BadRow { row, at_byte, what });
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return bad(at_byte, OPEN_QUOTE.to_owned()),
            Err(error) => return bad(reader.position().byte().max(at_byte), said(error)),
        }
        at_byte = record.position().map_or(at_byte, csv::Position::byte);
        if record.as_slice().contains(&0) {
            let is_end = record.len() == 1 && record.as_slice() == &END[1..END.len() - 1];
            return match is_end && reader.read_byte_record(&mut record).is_ok_and(|more| !more) {
                true => Ok(()),
                false if record.as_slice().ends_with(END) => bad(at_byte, OPEN_QUOTE.to_owned()),
                false => bad(at_byte, "expected text, found a NUL byte, which is in no text".to_owned()),
            };
        }
        each(&record).map_err(|what| BadRow { row, at_byte, what })?;
    }
}

const OPEN_QUOTE: &str = "expected a closing quote, found the end of the file";

/// Without the mark of UTF-8.
pub(super) fn text(start: &[u8]) -> Result<&[u8], String> {
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return Err("expected text in UTF-8, found UTF-16: save it as UTF-8".to_owned());
    }
    Ok(start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start))
}

fn said(error: csv::Error) -> String {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        other => format!("{other:?}"),
    }
}

/// Gives a row so many bytes and no more.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.left.get());
        if most == 0 && !into.is_empty() {
            let most = limits::LIST_ROW_BYTES;
            return Err(io::Error::other(format!(
                "expected a row of at most {most} bytes, found more: an open quote?"
            )));
        }
        let read = self.inner.read(&mut into[..most])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<&[&[&str]], (u64, &str)>) {
        let mut rows: Vec<Vec<String>> = vec![];
        let read = read(bytes, b',', |record| {
            rows.push(record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect());
            Ok(())
        });
        match expected {
            Ok(expected) => {
                assert!(read.is_ok(), "{read:?}");
                assert_eq!(rows, expected);
            }
            Err((row, what)) => {
                let bad = read.unwrap_err();
                assert_eq!((bad.row, bad.what.as_str()), (row, what));
            }
        }
    }

    #[test]
    fn rows_are_those_of_rfc_4180_however_their_lines_end() {
        for text in ["a,b\nc,d\n", "a,b\r\nc,d", "\u{feff}\"a\",b\n\n\nc,\"d\"", "a,b\rc,d\r"] {
            check(text.as_bytes(), Ok(&[&["a", "b"], &["c", "d"]]));
        }
        check(b"\"a,\n\"\"\",b\n", Ok(&[&["a,\n\"", "b"]]));
        check(b"", Ok(&[]));
        check(b"a", Ok(&[&["a"]]));
    }

    #[test]
    fn what_would_swallow_rows_is_refused() {
        check(b"a,b\nc,\"d\ne,f\n", Err((2, OPEN_QUOTE)));
        check(b"a,b\n\0end\nc,d\n", Err((2, "expected text, found a NUL byte, which is in no text")));
        check(b"a\0,b\n", Err((1, "expected text, found a NUL byte, which is in no text")));
        check(b"\xff\xfea\0", Err((1, "expected text in UTF-8, found UTF-16: save it as UTF-8")));
        let long = [b"a\n\"".to_vec(), vec![b'x'; 3 << 20]].concat();
        check(&long, Err((2, "expected a row of at most 1048576 bytes, found more: an open quote?")));
    }
}
