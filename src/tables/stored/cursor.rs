//! Some columns of a part, row after row, a batch of them in memory at a time.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;

use super::file::PartFile;

/// Enough that the cost of a batch does not show, few enough that its columns are small to the allocator.
const BATCH_ROWS: usize = 512;

/// The columns of one batch, each under its type.
pub trait Columns: Sized {
    const NAMES: &'static [&'static str];

    /// # Errors
    /// A column that is missing or of another type.
    fn of(batch: &RecordBatch) -> Result<Self, String>;
}

/// Stands before a row, or behind the last one.
pub struct Cursor<C> {
    reader: ParquetRecordBatchReader,
    columns: Option<C>,
    at: usize,
    rows: usize,
}

impl<C: Columns> Cursor<C> {
    /// # Errors
    /// A part whose schema cannot be read, or that lacks a column.
    pub fn new(part: &PartFile, metadata: &Arc<ParquetMetaData>) -> Result<Self, String> {
        let said = |e: parquet::errors::ParquetError| e.to_string();
        let loaded = ArrowReaderMetadata::try_new(Arc::clone(metadata), ArrowReaderOptions::default()).map_err(said)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(part.clone(), loaded);
        let wanted = ProjectionMask::columns(builder.parquet_schema(), C::NAMES.iter().copied());
        let builder = builder.with_projection(wanted).with_batch_size(BATCH_ROWS);
        Ok(Self { reader: builder.build().map_err(said)?, columns: None, at: 0, rows: 0 })
    }

    /// The columns and the place in them of the row that this stands before; None behind the last one.
    ///
    /// # Errors
    /// A page that is cut or broken.
    pub fn row(&mut self) -> Result<Option<(&C, usize)>, String> {
        while self.at == self.rows {
            let Some(batch) = self.reader.next() else { return Ok(None) };
            let batch = batch.map_err(|e| e.to_string())?;
            (self.columns, self.at, self.rows) = (Some(C::of(&batch)?), 0, batch.num_rows());
        }
        Ok(self.columns.as_ref().map(|columns| (columns, self.at)))
    }

    /// Goes on behind the row.
    pub fn step(&mut self) {
        self.at += usize::from(self.at < self.rows);
    }
}

/// A column under its type.
pub(super) fn column<A: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<A, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("expected a column {name:?}, found none"))?;
    column.as_any().downcast_ref::<A>().cloned().ok_or_else(|| {
        format!("column {name:?}: expected {}, found {}", std::any::type_name::<A>(), column.data_type())
    })
}
