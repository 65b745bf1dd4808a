//! The result tables: their columns with units, and parts of them as Parquet.
//!
//! A column stands in exactly one place: its entry in the `COLUMNS` of its table, with name, unit, meaning and
//! the value taken from a row. The schema, the README's table and `deepsweep schema` all come from there.
//! The schema is a public interface: what changes it raises [`SCHEMA_VERSION`].

pub mod embeddings;
pub mod faces;
pub mod frames;
pub mod media;
pub mod part;
pub mod stored;
pub mod tracks;

use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

pub use self::part::{EncodedPart, PartContext};

/// Raised with every change to a column's name, type or meaning.
///
/// - 4: `media` has `orientation` and `color_transfer`; `error_class` may be `encrypted`, `incomplete` or `no_decoder`;
///   `container` and `codec` have more values; `decoder_message` says what a complaint means for the frames.
pub const SCHEMA_VERSION: u32 = 4;

/// One column of a table whose rows are `R`.
pub struct Column<R: 'static> {
    pub name: &'static str,
    /// `px`, `s`, `bytes`, `[0, 1]` …; empty where there is none.
    pub unit: &'static str,
    pub meaning: &'static str,
    /// Whether every row has a value.
    pub required: bool,
    pub values: fn(&[&R]) -> ArrayRef,
}

/// A table: its folder's name, and what its rows are.
pub trait Table: Sized + 'static {
    const NAME: &'static str;
    const COLUMNS: &'static [Column<Self>];
    /// The columns that rows are sorted by.
    const SORTED_BY: &'static [&'static str];
}

/// The Arrow schema of `T`, in the order of its columns.
#[must_use]
pub fn schema<T: Table>() -> SchemaRef {
    let field =
        |column: &Column<T>| Field::new(column.name, (column.values)(&[]).data_type().clone(), !column.required);
    Arc::new(Schema::new(T::COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

/// # Errors
/// A required column without a value: a bug, said before it is written.
pub fn batch<T: Table>(rows: &[&T]) -> Result<RecordBatch, ArrowError> {
    let columns = T::COLUMNS.iter().map(|column| (column.values)(rows)).collect();
    RecordBatch::try_new(schema::<T>(), columns)
}

/// A table's columns as a person reads them.
#[derive(Debug, Clone)]
pub struct TableDescription {
    pub name: &'static str,
    pub columns: Vec<ColumnDescription>,
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct ColumnDescription {
    pub name: &'static str,
    pub kind: String,
    pub unit: &'static str,
    pub nullable: bool,
    pub meaning: &'static str,
}

/// Every table, in the order in which the documentation tells them.
#[must_use]
pub fn describe() -> Vec<TableDescription> {
    vec![
        describe_one::<media::MediaRow>(),
        describe_one::<frames::FrameRow>(),
        describe_one::<faces::FaceRow>(),
        describe_one::<tracks::TrackRow>(),
        describe_one::<embeddings::EmbeddingRow>(),
    ]
}

/// Every table as a Markdown section: what the README shows.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for table in describe() {
        text.push_str(&format!(
            "### `{}`\n\n| column | type | unit | null | meaning |\n|---|---|---|---|---|\n",
            table.name
        ));
        for ColumnDescription { name, kind, unit, nullable, meaning } in table.columns {
            let null = if nullable { "yes" } else { "" };
            text.push_str(&format!("| `{name}` | {kind} | {unit} | {null} | {meaning} |\n"));
        }
        text.push('\n');
    }
    text
}

fn describe_one<T: Table>() -> TableDescription {
    let columns = T::COLUMNS.iter().map(|column| ColumnDescription {
        name: column.name,
        kind: sql_name((column.values)(&[]).data_type()),
        unit: column.unit,
        nullable: !column.required,
        meaning: column.meaning,
    });
    TableDescription { name: T::NAME, columns: columns.collect() }
}

fn sql_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "string".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::List(item) => format!("array<{}>", sql_name(item.data_type())),
        other => other.to_string(),
    }
}

fn text<R>(rows: &[&R], value: impl Fn(&R) -> Option<&str>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| value(row)).collect::<StringArray>())
}

fn boolean<R>(rows: &[&R], value: impl Fn(&R) -> Option<bool>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| value(row)).collect::<BooleanArray>())
}

fn int32<R>(rows: &[&R], value: impl Fn(&R) -> Option<i32>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| value(row)).collect::<Int32Array>())
}

fn int64<R>(rows: &[&R], value: impl Fn(&R) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| value(row)).collect::<Int64Array>())
}

fn float32<R>(rows: &[&R], value: impl Fn(&R) -> Option<f32>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| value(row)).collect::<Float32Array>())
}

fn float64<R>(rows: &[&R], value: impl Fn(&R) -> Option<f64>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| value(row)).collect::<Float64Array>())
}

fn micros<R>(rows: &[&R], value: impl Fn(&R) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| value(row)).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Lists whose items are never null, with the child named `element` as Parquet readers expect.
fn list_float32<'a, R: 'a>(rows: &[&'a R], value: impl Fn(&'a R) -> &'a [f32]) -> ArrayRef {
    let item = Field::new("element", DataType::Float32, false);
    let mut lists = ListBuilder::new(Float32Builder::new()).with_field(item);
    for row in rows {
        lists.values().append_slice(value(row));
        lists.append(true);
    }
    Arc::new(lists.finish())
}
