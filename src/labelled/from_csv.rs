//! CSV → rows: commas, a header, quotes as in RFC 4180, lines that end in LF or CRLF, UTF-8 with or without its mark.
//!
//! In: bytes. Out: rows as they stand there, duplicates among them. It never skips a row that it does not understand.

use std::io::Read;

use csv::{ReaderBuilder, StringRecord};

use super::columns::Columns;
use super::labels::{Cells, LabelRow, MAX_ROWS, is_fake};

pub(super) fn read(bytes: &[u8]) -> Result<(Columns, Vec<LabelRow>), String> {
    let bytes = text(bytes)?;
    let mut reader = reader(bytes);
    let mut record = StringRecord::new();
    if !next(&mut reader, &mut record, bytes)? {
        return Err("expected a header and rows, found empty lines".to_owned());
    }
    let columns = Columns::find(record.iter())?;
    let width = record.len();
    let mut rows = vec![];
    let mut last_at = 0;
    while next(&mut reader, &mut record, bytes)? {
        last_at = start(&record);
        let row = row(&record, &columns, width).map_err(|what| format!("line {}: {what}", line(bytes, last_at)))?;
        rows.push(row);
        if rows.len() > MAX_ROWS {
            return Err(format!("expected at most {MAX_ROWS} rows, found more: split the file"));
        }
    }
    if ends_in_quotes(&bytes[last_at..]) {
        return Err(format!("line {}: expected a closing quote, found the end of the file", line(bytes, last_at)));
    }
    Ok((columns, rows))
}

/// Without the mark of UTF-8. What is no text is better said once than met in some line.
fn text(bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("expected CSV in UTF-8 or Parquet, found UTF-16: save it as UTF-8".to_owned());
    }
    if bytes.contains(&0) {
        let at = bytes.iter().position(|byte| *byte == 0).unwrap_or_default();
        let line = line(bytes, at);
        return Err(format!("line {line}: expected CSV in UTF-8 or Parquet, found a NUL byte, which is in no text"));
    }
    Ok(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// Rows of another width are met by name, in [`row`].
fn reader<R: Read>(input: R) -> csv::Reader<R> {
    ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(1 << 16).from_reader(input)
}

fn next<R: Read>(reader: &mut csv::Reader<R>, record: &mut StringRecord, bytes: &[u8]) -> Result<bool, String> {
    reader.read_record(record).map_err(|e| match e.position() {
        Some(at) => format!("line {}: expected UTF-8, found other bytes", line(bytes, offset(at))),
        None => e.to_string(),
    })
}

fn row(record: &StringRecord, columns: &Columns, width: usize) -> Result<LabelRow, String> {
    if record.len() != width {
        return Err(format!("expected {width} columns as in the header, found {}", record.len()));
    }
    let cells = Cells {
        name: record.get(columns.name),
        fake: is_fake(&record[columns.label]),
        split: columns.split.and_then(|at| record.get(at)),
        group: columns.group.and_then(|at| record.get(at)),
    };
    LabelRow::parse(cells, columns.by)
}

/// The csv crate takes the end of the file for the quote that is missing: rows below it would vanish in one cell.
fn ends_in_quotes(last_record: &[u8]) -> bool {
    reader(last_record.chain(&b"\nend"[..])).byte_records().count() < 2
}

fn start(record: &StringRecord) -> usize {
    record.position().map_or(0, offset)
}

fn offset(at: &csv::Position) -> usize {
    usize::try_from(at.byte()).unwrap_or(usize::MAX)
}

/// As an editor counts, from 1; the crate counts CRLF and empty lines otherwise.
fn line(bytes: &[u8], at: usize) -> usize {
    let (before, after) = bytes.split_at(at.min(bytes.len()));
    let skipped = after.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let end = if bytes.contains(&b'\n') { b'\n' } else { b'\r' };
    1 + before.iter().chain(&after[..skipped]).filter(|byte| **byte == end).count()
}

#[cfg(test)]
mod tests {
    use super::read;

    /// Names and labels.
    fn check(bytes: &[u8], expected: Result<&[(&str, bool)], &str>) {
        let rows = read(bytes).map(|(_, rows)| rows.into_iter().map(|row| (row.name, row.fake)).collect::<Vec<_>>());
        let expected = expected.map(|rows| rows.iter().map(|(name, fake)| ((*name).to_owned(), *fake)).collect());
        assert_eq!(
            rows,
            expected.map_err(str::to_owned),
            "{:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
        );
    }

    #[test]
    fn lines_end_in_any_way_and_the_last_needs_no_end() {
        for text in [
            "key,label\na,1\nb,0\n",
            "key,label\na,1\nb,0",
            "key,label\r\na,1\r\nb,0\r\n",
            "key,label\r\na,1\r\nb,0",
            "key,label\ra,1\rb,0\r",
            "\u{feff}key,label\na,1\nb,0\n",
            "\u{feff}\"key\",\"label\"\r\n\"a\",\"1\"\r\n\"b\",0\r\n",
            "\n\nkey,label\n\na,1\n\n\nb,0\n\n",
        ] {
            check(text.as_bytes(), Ok(&[("a", true), ("b", false)]));
        }
    }

    #[test]
    fn quotes_hold_commas_quotes_and_lines() {
        let text = "key,label\n\"a,\"\"b\"\".jpg\",1\n\"two\nlines\",0\n\"two\r\nmore\",\"1\"\n";
        check(text.as_bytes(), Ok(&[("a,\"b\".jpg", true), ("two\nlines", false), ("two\r\nmore", true)]));
        check("key,label\n\"ä/日本 🎭.jpg\",1".as_bytes(), Ok(&[("ä/日本 🎭.jpg", true)]));
    }

    #[test]
    fn a_line_is_counted_as_an_editor_does() {
        let expected = "label: expected 0 or 1, real or fake, false or true (1, fake and true mean fake), found \"x\"";
        for (text, line) in [
            ("key,label\na,1\nb,x\n", 3),
            ("key,label\r\na,1\r\nb,x\r\nc,1\r\n", 3),
            ("key,label\ra,1\rb,x\r", 3),
            ("\u{feff}\n\nkey,label\n\n\nb,x", 6),
            ("\r\nkey,label\r\n\r\nb,x", 4),
            ("key,label\n\"1\n2\n3\",1\nb,x", 5),
            ("key,label\r\n\"1\r\n2\",1\r\nb,x", 4),
            ("key,label\r\n\"1\n2\n3\",x\n", 2),
        ] {
            check(text.as_bytes(), Err(&format!("line {line}: {expected}")));
        }
    }

    #[test]
    fn a_row_of_another_width_is_refused() {
        check(b"key,label\na,1\nb\n", Err("line 3: expected 2 columns as in the header, found 1"));
        check(b"key,label\na,1,\n", Err("line 2: expected 2 columns as in the header, found 3"));
        check(b"key,label\na,b.jpg,1\n", Err("line 2: expected 2 columns as in the header, found 3"));
    }

    #[test]
    fn a_quote_that_is_not_closed_swallows_no_rows() {
        let expected = "expected a closing quote, found the end of the file";
        let open = "key,label,note\na,1,x\nb,0,\"5 inch\nc,1,x\nd,1,x\n";
        check(open.as_bytes(), Err(&format!("line 3: {expected}")));
        check(open.trim_end().as_bytes(), Err(&format!("line 3: {expected}")));
        check(open.replace('\n', "\r\n").as_bytes(), Err(&format!("line 3: {expected}")));
        check(b"key,label,\"note\na,1,x\n", Err(&format!("line 1: {expected}")));
        check(
            b"key,label,note\na,1,\"x\"\nb,1,\"\"\"\"\nc,0,\"x\n\"\r\n",
            Ok(&[("a", true), ("b", true), ("c", false)]),
        );
        // Inside of a cell a quote is a letter.
        check(b"key,label,note\na\"b,1,5\"\n", Ok(&[("a\"b", true)]));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let utf16 =
            |order: fn(u16) -> [u8; 2]| "\u{feff}key,label\na,1\n".encode_utf16().flat_map(order).collect::<Vec<_>>();
        let expected = "expected CSV in UTF-8 or Parquet, found UTF-16: save it as UTF-8";
        check(&utf16(u16::to_le_bytes), Err(expected));
        check(&utf16(u16::to_be_bytes), Err(expected));
        let expected = "expected CSV in UTF-8 or Parquet, found a NUL byte, which is in no text";
        check(&utf16(u16::to_le_bytes)[2..], Err(&format!("line 1: {expected}")));
        check(b"key,label\na,1\nb\0,1\n", Err(&format!("line 3: {expected}")));
        check(&[0; 100], Err(&format!("line 1: {expected}")));
        check(b"key,label\na,1\nb\xff.jpg,1\n", Err("line 3: expected UTF-8, found other bytes"));
        check(b"\x1f\x8b\x08\x08key,label", Err("line 1: expected UTF-8, found other bytes"));
        // In Latin-1, in a column that nobody reads: still no file to trust.
        check(b"key,label,note\r\na,1,caf\xe9\r\n", Err("line 2: expected UTF-8, found other bytes"));
    }

    #[test]
    fn a_line_of_ten_megabytes_is_refused_in_a_short_message() {
        let long = "x".repeat(10 << 20);
        let shown = "x".repeat(120);
        check(long.as_bytes(), Err(&format!("columns: expected key or media_id, found \"{shown}\"…")));
        let commas = ",".repeat(10 << 20);
        let empty = "\"\"; ".repeat(10);
        let found = format!("columns: expected key or media_id, found {empty}and 10485751 more");
        check(commas.as_bytes(), Err(&found));
        let found = format!("line 2: key: expected at most 4096 bytes, found 10485760: \"{shown}\"…");
        check(format!("key,label\n{long},1\n").as_bytes(), Err(&found));
        check(
            format!("key,label\n{commas}").as_bytes(),
            Err("line 2: expected 2 columns as in the header, found 10485761"),
        );
        let quotes = "\"".repeat(10 << 20);
        check(format!("key,label\n{quotes}").as_bytes(), Err("line 2: expected 2 columns as in the header, found 1"));
    }
}
