//! What the media part of a slice says of the slice: whoever finishes a run reads footers, not rows.
//!
//! It is written last, when the other parts stand, so that it can name them as they stand.

use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use crate::progress::Tally;
use crate::tables::part::CommittedPart;
use crate::tables::stored::stated;

/// The name under which a media part keeps it.
pub const SLICE: &str = "deepsweep.slice";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SliceRecord {
    /// `cpu`, `cuda:0` …
    pub device: String,
    /// The other parts of the slice.
    pub parts: Vec<CommittedPart>,
    pub tally: Tally,
}

impl SliceRecord {
    /// # Errors
    /// A media part that says nothing of its slice, or something that cannot be read.
    pub fn of(metadata: &ParquetMetaData) -> Result<Self, String> {
        let text = stated(metadata, SLICE).ok_or_else(|| format!("expected a {SLICE} in its footer, found none"))?;
        serde_json::from_str(text).map_err(|e| format!("{SLICE}: {e}"))
    }

    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() // numbers and strings: always JSON
    }
}
