//! Objects as Parquet: a row group is a slice. What workers read, and what the planner spills before it knows the shards.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::ColumnPath;

use crate::storage::ObjectMeta;

/// Writes slices, one row group each.
pub struct SliceWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    slices: u64,
}

impl<W: Write + Send> SliceWriter<W> {
    /// For a file that stays.
    ///
    /// # Errors
    /// Settings that the format refuses: a bug.
    pub fn new(output: W) -> Result<Self, ParquetError> {
        Self::with(output, Compression::ZSTD(ZstdLevel::try_new(1)?))
    }

    /// For a file that is read once and thrown away: a compressor and a decompressor for each column of each slice take
    /// longer than what they save is written.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn uncompressed(output: W) -> Result<Self, ParquetError> {
        Self::with(output, Compression::UNCOMPRESSED)
    }

    fn with(output: W, compression: Compression) -> Result<Self, ParquetError> {
        Ok(Self { writer: ArrowWriter::try_new(output, schema(), Some(properties(compression)))?, slices: 0 })
    }

    /// # Errors
    /// An output that fails.
    pub fn add(&mut self, objects: &[ObjectMeta]) -> Result<(), ParquetError> {
        self.writer.write(&batch(objects)?)?;
        self.slices += 1;
        self.writer.flush() // ends the row group
    }

    #[must_use]
    pub fn slices(&self) -> u64 {
        self.slices
    }

    /// # Errors
    /// As [`Self::add`].
    pub fn end(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}

/// A file of slices, open at its footer.
pub struct SliceReader<R> {
    file: R,
    metadata: ArrowReaderMetadata,
}

impl<R: ChunkReader + Clone + 'static> SliceReader<R> {
    /// # Errors
    /// No file of slices.
    pub fn new(file: R) -> Result<Self, ParquetError> {
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())?;
        if metadata.schema().fields() != schema().fields() {
            return Err(ParquetError::General(format!(
                "expected a file of a plan, found columns {}",
                metadata.schema()
            )));
        }
        Ok(Self { file, metadata })
    }

    #[must_use]
    pub fn slices(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// # Errors
    /// Pages that are cut or broken.
    pub fn slice(&self, at: usize) -> Result<Vec<ObjectMeta>, ParquetError> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone());
        let mut objects = vec![];
        for batch in builder.with_row_groups(vec![at]).build()? {
            objects_of(&batch?, &mut objects)?;
        }
        Ok(objects)
    }
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("size_bytes", DataType::Int64, false),
        Field::new("etag", DataType::Utf8, true),
        Field::new("version_id", DataType::Utf8, true),
        Field::new("modified", time, true),
    ]))
}

/// Sorted keys share their beginnings; the other columns compress as they are. Nobody looks for a row by its value.
fn properties(compression: Compression) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_column_encoding(ColumnPath::from("key"), Encoding::DELTA_BYTE_ARRAY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by(format!("deepsweep {}", env!("CARGO_PKG_VERSION")))
        .build()
}

fn batch(objects: &[ObjectMeta]) -> Result<RecordBatch, ParquetError> {
    let keys: StringArray = objects.iter().map(|object| Some(object.key.as_str())).collect();
    let sizes: Int64Array = objects.iter().map(|object| Some(object.size_bytes as i64)).collect();
    let etags: StringArray = objects.iter().map(|object| object.etag.as_deref()).collect();
    let versions: StringArray = objects.iter().map(|object| object.version_id.as_deref()).collect();
    let times: TimestampMicrosecondArray =
        objects.iter().map(|object| object.modified.map(|time| time.timestamp_micros())).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys),
        Arc::new(sizes),
        Arc::new(etags),
        Arc::new(versions),
        Arc::new(times.with_timezone("UTC")),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn objects_of(batch: &RecordBatch, into: &mut Vec<ObjectMeta>) -> Result<(), ParquetError> {
    fn column<T: Clone + 'static>(batch: &RecordBatch, at: usize) -> Result<&T, ParquetError> {
        let column = batch.column(at).as_any().downcast_ref::<T>();
        column.ok_or_else(|| ParquetError::General(format!("column {at} has another type")))
    }
    let (keys, sizes) = (column::<StringArray>(batch, 0)?, column::<Int64Array>(batch, 1)?);
    let (etags, versions) = (column::<StringArray>(batch, 2)?, column::<StringArray>(batch, 3)?);
    let times = column::<TimestampMicrosecondArray>(batch, 4)?;
    let text = |column: &StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
    into.extend((0..batch.num_rows()).map(|row| ObjectMeta {
        key: keys.value(row).to_owned(),
        size_bytes: sizes.value(row) as u64,
        etag: text(etags, row),
        version_id: text(versions, row),
        modified: times.is_valid(row).then(|| DateTime::from_timestamp_micros(times.value(row))).flatten(),
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;

    use super::{SliceReader, SliceWriter};
    use crate::storage::ObjectMeta;

    #[test]
    fn slices_come_back_as_they_went() {
        let object = |at: usize| ObjectMeta {
            key: format!("a/\u{1F600} {at:05}\n"),
            size_bytes: at as u64 * 7_000_000_000,
            etag: (at.is_multiple_of(2)).then(|| format!("\"{at}\"")),
            version_id: (at.is_multiple_of(3)).then(|| at.to_string()),
            modified: DateTime::from_timestamp_micros(at as i64 * 1_000_003).filter(|_| !at.is_multiple_of(5)),
        };
        let slices: Vec<Vec<ObjectMeta>> = vec![vec![object(0)], (1..1_700).map(object).collect()];
        let mut writer = SliceWriter::new(vec![]).unwrap();
        slices.iter().for_each(|slice| writer.add(slice).unwrap());
        let reader = SliceReader::new(Bytes::from(writer.end().unwrap())).unwrap();
        assert_eq!(reader.slices(), 2);
        for (at, slice) in slices.iter().enumerate() {
            assert_eq!(reader.slice(at).unwrap(), *slice);
        }
    }

    #[test]
    fn another_file_is_no_plan() {
        assert!(SliceReader::new(Bytes::from_static(b"PAR1")).is_err());
    }
}
