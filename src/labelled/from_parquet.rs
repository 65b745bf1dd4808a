//! Parquet → rows: text as it is written by pandas, polars, DuckDB and Spark; labels as text, bool, integer or float.
//!
//! In: bytes. Out: rows as they stand there, duplicates among them. It reads no other column than it needs.

use std::fmt::Display;
use std::panic::catch_unwind;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowNativeTypeOp, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Fields};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;

use super::columns::Columns;
use super::labels::{Cells, LabelRow, MAX_ROWS, is_fake};
use super::quoted;

/// As many as fit the cache with their texts.
const BATCH_ROWS: usize = 8192;

pub(super) fn read(bytes: Bytes) -> Result<(Columns, Vec<LabelRow>), String> {
    // In some places the parquet crate trusts what a file says of its own lengths, and panics where that is wrong.
    catch_unwind(|| read_trusting(bytes)).unwrap_or_else(|_| Err(damaged("its lengths contradict each other")))
}

/// What the crate says may have several lines, and words of the file in it.
fn damaged(found: impl Display) -> String {
    format!("expected a whole Parquet file, found a damaged one: {}", quoted(&found.to_string()))
}

fn read_trusting(bytes: Bytes) -> Result<(Columns, Vec<LabelRow>), String> {
    // What Arrow notes beside the columns only says how they lay in memory: without it text is text, and dictionaries,
    // views and large strings need no word here.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let file = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(damaged)?;
    let fields = file.schema().fields().clone();
    let columns = Columns::find(fields.iter().map(|field| field.name().as_str()))?;
    for at in columns.read() {
        check_type(fields[at].name(), fields[at].data_type(), at == columns.label)?;
    }
    for group in file.metadata().row_groups() {
        group.columns().iter().try_for_each(|column| check_compression(column, &fields, &columns))?;
    }
    let rows_said = file.metadata().file_metadata().num_rows();
    let count = usize::try_from(rows_said).map_err(|_| damaged(format!("{rows_said} rows")))?;
    if count > MAX_ROWS {
        return Err(format!("expected at most {MAX_ROWS} rows, found {count}: split the file"));
    }
    let mask = ProjectionMask::roots(file.parquet_schema(), columns.read());
    let batches = file.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(damaged)?;
    let mut rows = vec![];
    for batch in batches {
        append(&batch.map_err(damaged)?, &columns, &mut rows)?;
        if rows.len() > count {
            return Err(damaged(format!("more rows than the {count} it speaks of")));
        }
    }
    if rows.len() < count {
        return Err(damaged(format!("{} rows of the {count} it speaks of", rows.len())));
    }
    Ok((columns, rows))
}

/// Said of the column, before any row is met.
fn check_type(name: &str, found: &DataType, is_label: bool) -> Result<(), String> {
    let is_text = matches!(found, DataType::Utf8 | DataType::Binary);
    let is_number = found.is_integer() || matches!(found, DataType::Float16 | DataType::Float32 | DataType::Float64);
    if is_text || (is_label && (is_number || *found == DataType::Boolean)) {
        return Ok(());
    }
    let expected = if is_label { "bool, integer, float or text" } else { "text" };
    let found = quoted(&found.to_string());
    Err(format!("column {}: expected {expected}, found {found}", quoted(name)))
}

/// The crate would call a file damaged that only asks for a codec which was left out.
fn check_compression(column: &ColumnChunkMetaData, fields: &Fields, columns: &Columns) -> Result<(), String> {
    let is_read = columns.read().any(|at| column.column_path().parts().first() == Some(fields[at].name()));
    let found = match column.compression() {
        Compression::BROTLI(_) if is_read => "brotli",
        Compression::LZO if is_read => "lzo",
        _ => return Ok(()),
    };
    Err(format!("expected snappy, gzip, lz4, zstd or no compression, found {found}: write it with one of those"))
}

fn append<'a>(batch: &'a RecordBatch, columns: &Columns, rows: &mut Vec<LabelRow>) -> Result<(), String> {
    // A batch has no columns but those that are read, in the order of the file.
    let array = |at: usize| batch.column(columns.read().filter(|other| *other < at).count()).as_ref();
    let name = Text::of(array(columns.name));
    let label = array(columns.label);
    let split = columns.split.map(|at| Text::of(array(at)));
    let group = columns.group.map(|at| Text::of(array(at)));
    rows.reserve(batch.num_rows());
    for row in 0..batch.num_rows() {
        let word = |text: Option<Text<'a>>| text.map_or(Ok(None), |text| text.cell(row));
        let cells =
            || Ok(Cells { name: name.cell(row)?, fake: fake(label, row), split: word(split)?, group: word(group)? });
        let parsed = cells().and_then(|cells| LabelRow::parse(cells, columns.by));
        rows.push(parsed.map_err(|what| format!("row {}: {what}", rows.len() + 1))?);
    }
    Ok(())
}

/// A column of text: some writers do not note that their bytes are such.
#[derive(Clone, Copy)]
enum Text<'a> {
    Noted(&'a StringArray),
    Bytes(&'a BinaryArray),
}

impl<'a> Text<'a> {
    /// Of a column that [`check_type`] let pass.
    fn of(array: &'a dyn Array) -> Self {
        array.as_binary_opt().map_or_else(|| Self::Noted(array.as_string()), Self::Bytes)
    }

    fn cell(self, row: usize) -> Result<Option<&'a str>, String> {
        match self {
            Self::Noted(array) => Ok(array.is_valid(row).then(|| array.value(row))),
            Self::Bytes(array) if array.is_null(row) => Ok(None),
            Self::Bytes(array) => match std::str::from_utf8(array.value(row)) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err("expected UTF-8, found other bytes".to_owned()),
            },
        }
    }
}

/// The error is what was found.
fn fake(array: &dyn Array, row: usize) -> Result<bool, String> {
    if array.is_null(row) {
        return Err("none".to_owned());
    }
    match array.data_type() {
        DataType::Boolean => Ok(array.as_boolean().value(row)),
        DataType::Int8 => number::<Int8Type>(array, row),
        DataType::Int16 => number::<Int16Type>(array, row),
        DataType::Int32 => number::<Int32Type>(array, row),
        DataType::Int64 => number::<Int64Type>(array, row),
        DataType::UInt8 => number::<UInt8Type>(array, row),
        DataType::UInt16 => number::<UInt16Type>(array, row),
        DataType::UInt32 => number::<UInt32Type>(array, row),
        DataType::UInt64 => number::<UInt64Type>(array, row),
        DataType::Float16 => number::<Float16Type>(array, row),
        DataType::Float32 => number::<Float32Type>(array, row),
        DataType::Float64 => number::<Float64Type>(array, row),
        _ => is_fake(Text::of(array).cell(row)?.unwrap_or_default()),
    }
}

fn number<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> Result<bool, String> {
    let value = array.as_primitive::<T>().value(row);
    match value {
        _ if value.is_zero() => Ok(false),
        _ if value.is_eq(T::Native::ONE) => Ok(true),
        _ => Err(format!("{value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{FixedSizeListBuilder, Int32Builder, ListBuilder, StringBuilder};
    use arrow_array::types::{Float16Type, Int32Type};
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int8Array, Int64Array,
        LargeStringArray, PrimitiveArray, RecordBatch, StringArray, StringViewArray, StructArray, UInt16Array,
        UInt64Array,
    };
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, GzipLevel, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    use super::read;

    fn file(columns: &[(&str, ArrayRef)], compression: Compression) -> Bytes {
        let batch = RecordBatch::try_from_iter(columns.iter().cloned()).unwrap();
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        Bytes::from(writer.into_inner().unwrap())
    }

    fn check_file(bytes: Bytes, expected: Result<&[(&str, bool)], &str>) {
        let rows = read(bytes).map(|(_, rows)| rows.into_iter().map(|row| (row.name, row.fake)).collect::<Vec<_>>());
        let expected = expected.map(|rows| rows.iter().map(|(name, fake)| ((*name).to_owned(), *fake)).collect());
        assert_eq!(rows, expected.map_err(str::to_owned));
    }

    fn check(columns: &[(&str, ArrayRef)], expected: Result<&[(&str, bool)], &str>) {
        check_file(file(columns, Compression::SNAPPY), expected);
    }

    fn keys() -> ArrayRef {
        Arc::new(StringArray::from(vec!["a", "b"]))
    }

    fn labels() -> ArrayRef {
        Arc::new(Int64Array::from(vec![1, 0]))
    }

    const A_FAKE_B_REAL: Result<&[(&str, bool)], &str> = Ok(&[("a", true), ("b", false)]);

    #[test]
    fn text_is_read_however_it_lay_in_memory() {
        let dictionary: DictionaryArray<Int32Type> = vec!["a", "b"].into_iter().collect();
        let all: [ArrayRef; 5] = [
            keys(),
            Arc::new(LargeStringArray::from(vec!["a", "b"])),
            Arc::new(StringViewArray::from(vec!["a", "b"])),
            Arc::new(dictionary),
            Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"b"])),
        ];
        for array in all {
            check(&[("key", array), ("label", labels())], A_FAKE_B_REAL);
        }
    }

    #[test]
    fn labels_are_bools_integers_floats_and_words() {
        let half = |value: f32| <Float16Type as arrow_array::ArrowPrimitiveType>::Native::from_f32(value);
        let words: DictionaryArray<Int32Type> = vec!["FAKE", "real"].into_iter().collect();
        let all: [ArrayRef; 10] = [
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(Int8Array::from(vec![1, 0])),
            Arc::new(UInt16Array::from(vec![1, 0])),
            Arc::new(UInt64Array::from(vec![1, 0])),
            labels(),
            Arc::new(PrimitiveArray::<Float16Type>::from(vec![half(1.0), half(0.0)])),
            Arc::new(Float32Array::from(vec![1.0, 0.0])),
            Arc::new(Float64Array::from(vec![1.0, -0.0])),
            Arc::new(StringArray::from(vec!["true", "0"])),
            Arc::new(words),
        ];
        for array in all {
            check(&[("label", array), ("key", keys())], A_FAKE_B_REAL);
        }
    }

    #[test]
    fn every_usual_compression_is_read() {
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
        ] {
            check_file(file(&[("key", keys()), ("label", labels())], compression), A_FAKE_B_REAL);
        }
    }

    #[test]
    fn splits_and_groups_are_read_in_any_order_and_the_rest_is_not() {
        let mut nested = ListBuilder::new(Int32Builder::new());
        (0..2).for_each(|_| nested.append_value([Some(1), None]));
        let nested: ArrayRef = Arc::new(nested.finish());
        let structs = StructArray::try_from(vec![("key", keys()), ("label", nested.clone())]).unwrap();
        let columns: &[(&str, ArrayRef)] = &[
            ("faces", nested),
            ("group", Arc::new(StringArray::from(vec![Some("g"), None]))),
            ("inner", Arc::new(structs)),
            ("label", labels()),
            ("Split", Arc::new(StringArray::from(vec![None, Some(" test")]))),
            ("key", Arc::new(StringArray::from(vec![None::<&str>, None]))),
            ("media_id", keys()),
        ];
        let (columns, rows) = read(file(columns, Compression::SNAPPY)).unwrap();
        assert_eq!(columns.ignored, ["faces", "inner"]);
        let rows: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), row.split.as_deref(), row.group.as_deref())).collect();
        assert_eq!(rows, [("a", None, Some("g")), ("b", Some("test"), None)]);
    }

    #[test]
    fn cells_that_are_no_label_are_named_by_their_row() {
        let expected = "label: expected 0 or 1, real or fake, false or true (1, fake and true mean fake), found";
        let all: [(ArrayRef, &str); 8] = [
            (Arc::new(Int64Array::from(vec![1, 2])), "2"),
            (Arc::new(Int64Array::from(vec![Some(1), None])), "none"),
            (Arc::new(Int8Array::from(vec![1, -1])), "-1"),
            (Arc::new(UInt64Array::from(vec![1, u64::MAX])), "18446744073709551615"),
            (Arc::new(Float64Array::from(vec![1.0, 0.5])), "0.5"),
            (Arc::new(Float64Array::from(vec![1.0, f64::NAN])), "NaN"),
            (Arc::new(StringArray::from(vec!["1", "maybe"])), "\"maybe\""),
            (Arc::new(BooleanArray::from(vec![Some(true), None])), "none"),
        ];
        for (array, found) in all {
            check(&[("key", keys()), ("label", array)], Err(&format!("row 2: {expected} {found}")));
        }
        let without: [ArrayRef; 2] =
            [Arc::new(StringArray::from(vec![Some("a"), None])), Arc::new(StringArray::from(vec!["a", " "]))];
        for array in without {
            check(&[("key", array), ("label", labels())], Err("row 2: key: expected one, found none"));
        }
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"\xff"]));
        check(&[("key", bytes), ("label", labels())], Err("row 2: expected UTF-8, found other bytes"));
        // Counted over batches: 10,000 rows are two.
        let many: ArrayRef = Arc::new(StringArray::from_iter_values((0..10_000).map(|at| at.to_string())));
        let one_bad: ArrayRef = Arc::new(Int64Array::from_iter_values((0..10_000).map(|at| i64::from(at == 9000) * 7)));
        check(&[("key", many), ("label", one_bad)], Err(&format!("row 9001: {expected} 7")));
    }

    #[test]
    fn columns_of_another_type_are_refused() {
        let mut nested = FixedSizeListBuilder::new(StringBuilder::new(), 1);
        for word in ["a", "b"] {
            nested.values().append_value(word);
            nested.append(true);
        }
        let nested: ArrayRef = Arc::new(nested.finish());
        let structs: ArrayRef = Arc::new(StructArray::try_from(vec![("key", keys())]).unwrap());
        check(&[("key", labels()), ("label", labels())], Err("column \"key\": expected text, found \"Int64\""));
        for (name, columns) in [
            ("key", [("key", nested.clone()), ("label", labels())]),
            ("key", [("key", structs.clone()), ("label", labels())]),
            ("label", [("key", keys()), ("label", nested)]),
            ("label", [("key", keys()), ("label", structs)]),
        ] {
            let message = read(file(&columns, Compression::SNAPPY)).unwrap_err();
            assert!(message.starts_with(&format!("column {name:?}: expected")), "{message}");
        }
        let split: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 1.0]));
        let found = "column \"split\": expected text, found \"Float64\"";
        check(&[("key", keys()), ("label", labels()), ("split", split)], Err(found));
        check(&[("label", labels())], Err("columns: expected key or media_id, found \"label\""));
        check(&[("media_id", keys())], Err("columns: expected label, found \"media_id\""));
    }

    #[test]
    fn no_rows_are_no_error_here() {
        let none: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
        check(&[("key", none.clone()), ("label", none)], Ok(&[]));
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_refused() {
        let whole = file(&[("key", keys()), ("label", labels())], Compression::ZSTD(ZstdLevel::default()));
        for end in 4..whole.len() {
            let message = read(whole.slice(..end)).unwrap_err();
            assert!(message.starts_with("expected a whole Parquet file, found a damaged one: "), "{end}: {message}");
        }
    }

    #[test]
    fn a_file_with_any_byte_wrong_is_read_or_refused() {
        let whole = file(&[("key", keys()), ("label", labels())], Compression::UNCOMPRESSED);
        for at in 4..whole.len() {
            for wrong in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = wrong;
                if let Err(message) = read(bytes.into()) {
                    assert!(message.len() < 1024 && !message.contains('\n'), "byte {at} as {wrong}: {message}");
                }
            }
        }
    }

    #[test]
    fn junk_behind_the_mark_is_refused() {
        for junk in
            [&b"PAR1"[..], b"PAR1PAR1", b"PAR1\0\0\0\0PAR1", b"PAR1\xff\xff\xff\xffPAR1", b"PAR1,key,label\n1,a,1\n"]
        {
            let message = read(Bytes::from_static(junk)).unwrap_err();
            assert!(message.starts_with("expected a whole Parquet file, found a damaged one: "), "{message}");
        }
    }
}
