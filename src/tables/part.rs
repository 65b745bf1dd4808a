//! Rows of one table, piece by piece → one Parquet file in memory, read back before anyone may write it.
//!
//! ZSTD(3); row groups of 122,880 rows (what DuckDB reads in one piece); page statistics; sorted, and said so;
//! a bloom filter on the key; floats without a dictionary. No wall clock: two attempts are byte-equal.

use std::marker::PhantomData;

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnPath;

use super::{SCHEMA_VERSION, Table, batch, schema};
use crate::error::Error;
use crate::storage::{Store, StoreError};

const ROW_GROUP_ROWS: usize = 122_880;
const ZSTD_LEVEL: i32 = 3;

/// What the file says about itself beside its rows.
#[derive(Debug, Clone)]
pub struct PartContext {
    pub run_id: String,
    /// Day of the run, `YYYY-MM-DD`.
    pub dt: String,
    pub fingerprint: String,
    pub shard: u32,
    pub slice: u64,
}

/// A part that is whole and was read back; only [`EncodedPart::commit`] makes it visible.
#[derive(Debug)]
pub struct EncodedPart {
    key: String,
    body: Bytes,
    rows: usize,
}

/// A part that stands in the store.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CommittedPart {
    pub key: String,
    pub etag: Option<String>,
    pub rows: usize,
    pub bytes: usize,
}

/// A part that still takes rows. What it holds is encoded and compressed already.
pub struct OpenPart<T> {
    key: String,
    writer: ArrowWriter<Vec<u8>>,
    rows: usize,
    table: PhantomData<fn(T)>,
}

impl<T: Table> OpenPart<T> {
    /// # Errors
    /// Settings that the format refuses: a bug.
    pub fn new(context: &PartContext) -> Result<Self, ParquetError> {
        let PartContext { run_id, dt, shard, slice, .. } = context;
        let key = format!("{}part-{shard:05}-{slice:06}.parquet", folder(T::NAME, dt, run_id));
        let writer = ArrowWriter::try_new(vec![], schema::<T>(), Some(properties::<T>(context)?))?;
        Ok(Self { key, writer, rows: 0, table: PhantomData })
    }

    /// Adds `rows`, which must come in the table's order. The bytes depend on how rows are split into calls.
    ///
    /// # Errors
    /// A row without a required value.
    pub fn add(&mut self, rows: &[&T]) -> Result<(), ParquetError> {
        self.writer.write(&batch(rows)?)?;
        self.rows += rows.len();
        Ok(())
    }

    /// # Errors
    /// A file that does not read back as what was written.
    pub fn encode(self) -> Result<EncodedPart, ParquetError> {
        let body = Bytes::from(self.writer.into_inner()?);
        let read_back = SerializedFileReader::new(body.clone())?.metadata().file_metadata().num_rows();
        if read_back != self.rows as i64 {
            return Err(ParquetError::General(format!("expected {} rows, read back {read_back}", self.rows)));
        }
        Ok(EncodedPart { key: self.key, body, rows: self.rows })
    }
}

/// Where the parts of one run stand: `<table>/dt=YYYY-MM-DD/run=<run_id>/`.
#[must_use]
pub fn folder(table: &str, dt: &str, run_id: &str) -> String {
    format!("{table}/dt={dt}/run={run_id}/")
}

impl EncodedPart {
    /// # Errors
    /// `AlreadyExists` where another run of this name wrote the part first, and whatever else the store says.
    pub async fn commit(self, store: &dyn Store) -> Result<CommittedPart, Error> {
        let bytes = self.body.len();
        let etag = match store.put_new(&self.key, self.body).await {
            Err(error @ StoreError::AlreadyExists { .. }) => {
                return Err(Error::Input(format!(
                    "{error}: another run of this name writes here; choose another --run-id"
                )));
            }
            put => put?,
        };
        Ok(CommittedPart { key: self.key, etag, rows: self.rows, bytes })
    }
}

fn properties<T: Table>(context: &PartContext) -> Result<WriterProperties, ParquetError> {
    let schema = schema::<T>();
    let metadata = [
        ("deepsweep.schema_version", SCHEMA_VERSION.to_string()),
        ("deepsweep.code_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("deepsweep.run_id", context.run_id.clone()),
        ("deepsweep.fingerprint", context.fingerprint.clone()),
    ];
    let sorted_by = T::SORTED_BY.iter().filter_map(|name| schema.index_of(name).ok()).map(|i| SortingColumn {
        column_idx: i as i32,
        descending: false,
        nulls_first: true,
    });
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorted_by.collect()))
        .set_bloom_filter_enabled(false)
        .set_column_bloom_filter_enabled(ColumnPath::from("key"), true)
        .set_created_by(format!("deepsweep {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(metadata.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec()));
    for field in schema.fields() {
        let path = if field.data_type().is_nested() {
            ColumnPath::from(vec![field.name().clone(), "list".to_owned(), "element".to_owned()])
        } else {
            ColumnPath::from(field.name().as_str())
        };
        let floats = [arrow_schema::DataType::Float32, arrow_schema::DataType::Float64];
        if floats.contains(field.data_type()) || field.data_type().is_nested() {
            builder = builder.set_column_dictionary_enabled(path, false);
        }
    }
    Ok(builder.build())
}
