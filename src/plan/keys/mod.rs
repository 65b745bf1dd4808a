//! A list of keys → the objects that it names.
//!
//! In: text with a key or a path in each line; CSV with a header, or as S3 Batch Operations takes it; Parquet. Out: where
//! the media are, and entries in order, each once. A list names objects of one bucket or one folder, and a line that is not
//! understood stops the job: what is passed over in silence would be missing from the results.

mod place;
mod resolve;
mod table;
mod text;

use std::sync::Arc;

pub use self::place::Place;
use self::place::Places;
pub use self::resolve::{is_gone, resolve};
use super::columns::Cells;
use super::listed::Listed;
use super::sorted::{Sorted, Sorter};
use super::source::{Asked, Counts, read_list};
use crate::error::Error;
use crate::results::fetch::Fetched;
use crate::storage::Location;

/// A list, read.
#[derive(Debug)]
pub struct Keys {
    pub place: Place,
    pub sorted: Sorted,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Table { delimiter: u8 },
    Parquet,
}

/// The list at `asked.location`, by the ending of its name.
///
/// # Errors
/// A list that is missing, empty, no list, or names objects in several places.
pub async fn read(asked: &Asked<'_>, counts: &Arc<Counts>) -> Result<Keys, Error> {
    let (here, store) = read_list(asked).await?;
    let (home, name) = match asked.location {
        Location::Local(path) => {
            let folder = place::folder_called(store.bucket()).map_err(Error::Input)?;
            (Some(folder), path.to_string_lossy().into_owned())
        }
        Location::S3 { prefix, .. } => (None, prefix.clone()),
    };
    let form = match name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "parquet" => Form::Parquet,
        "csv" => Form::Table { delimiter: b',' },
        "tsv" => Form::Table { delimiter: b'\t' },
        _ => Form::Text,
    };
    let sorter = Sorter::new(asked.scratch);
    let gathering = Gathering { sorter, places: Places::new(home), counts: Arc::clone(counts), failed: None };
    let at = asked.location.to_string();
    let reading = tokio::task::spawn_blocking(move || gathering.read(&here, form, &at)).await;
    reading.map_err(|e| Error::TryAgain(format!("reading {} was broken off: {e}", asked.location)))?
}

/// What came of the list so far.
struct Gathering {
    sorter: Sorter,
    places: Places,
    counts: Arc<Counts>,
    /// What the scratch folder said when it took no more.
    failed: Option<Error>,
}

impl Gathering {
    fn read(mut self, here: &Fetched, form: Form, at: &str) -> Result<Keys, Error> {
        let read = match form {
            Form::Text => text::read(&here.part, &mut self),
            Form::Table { delimiter } => table::read_csv(&here.part, delimiter, &mut self),
            Form::Parquet => table::read_parquet(&here.part, &mut self),
        };
        if let Some(error) = self.failed {
            return Err(error);
        }
        let bad = |what: String| Error::Input(format!("list of keys {at}: {what}"));
        read.map_err(bad)?;
        here.check_unchanged()?;
        let place = self.places.decided().ok_or_else(|| bad("expected keys, found none".to_owned()))?;
        Ok(Keys { place, sorted: self.sorter.finish()? })
    }

    /// One line as a person writes it: `s3://bucket/key`, or a path.
    fn line(&mut self, line: &str) -> Result<(), String> {
        let key = self.places.key_of_line(line)?;
        self.push(&Listed { key, ..Listed::default() })
    }

    /// One row of a table, its key decoded.
    fn row(&mut self, cells: &Cells<'_>, key: &str) -> Result<(), String> {
        if cells.is_delete_marker == Some(true) {
            Counts::add(&self.counts.rows, 1);
            Counts::add(&self.counts.delete_markers, 1);
            return Ok(());
        }
        let key = match cells.bucket {
            Some(bucket) => self.places.key_in(bucket, key)?,
            None => self.places.key_of_line(key)?,
        };
        self.push(&Listed {
            key,
            size_bytes: cells.size_bytes,
            etag: cells.etag.map(str::to_owned),
            version_id: cells.version_id.map(str::to_owned),
            modified: cells.modified,
        })
    }

    fn push(&mut self, entry: &Listed) -> Result<(), String> {
        Counts::add(&self.counts.rows, 1);
        self.sorter.push(entry).map_err(|error| {
            let said = error.to_string();
            self.failed = Some(error);
            said
        })
    }
}
