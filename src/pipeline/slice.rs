//! The rows of one slice, object after object → its parts, one of each table.
//!
//! What is held until they are whole is compressed, but for the rows of `media`: they are few, and what they say is settled
//! last. It knows nothing of where rows come from or parts go to.

use parquet::errors::ParquetError;

use super::score::MediaRows;
use crate::results::slice::{SLICE, SliceRecord};
use crate::tables::PartContext;
use crate::tables::embeddings::EmbeddingRow;
use crate::tables::faces::FaceRow;
use crate::tables::frames::FrameRow;
use crate::tables::media::MediaRow;
use crate::tables::part::{EncodedPart, OpenPart};
use crate::tables::tracks::TrackRow;

/// The parts of a slice. A table without rows has its part all the same: readers of a folder want to find its columns.
pub struct SliceParts {
    context: PartContext,
    embeddings: Option<OpenPart<EmbeddingRow>>,
    tracks: OpenPart<TrackRow>,
    faces: OpenPart<FaceRow>,
    frames: OpenPart<FrameRow>,
    media: Vec<MediaRow>,
}

/// A slice with all its rows.
#[derive(Debug)]
pub struct WholeSlice {
    pub context: PartContext,
    /// Of every table but `media`, in the order in which they are committed.
    pub parts: Vec<EncodedPart>,
    pub media: Vec<MediaRow>,
}

impl SliceParts {
    /// # Errors
    /// Settings that the format refuses: a bug.
    pub fn new(context: &PartContext, keep_embeddings: bool) -> Result<Self, ParquetError> {
        Ok(Self {
            context: context.clone(),
            embeddings: keep_embeddings.then(|| OpenPart::new(context)).transpose()?,
            tracks: OpenPart::new(context)?,
            faces: OpenPart::new(context)?,
            frames: OpenPart::new(context)?,
            media: vec![],
        })
    }

    /// Adds the rows of the next objects. The bytes depend on how rows are split into calls.
    ///
    /// # Errors
    /// A row without a required value.
    pub fn add(&mut self, rows: &[MediaRows]) -> Result<(), ParquetError> {
        if let Some(embeddings) = &mut self.embeddings {
            embeddings.add(&rows.iter().flat_map(|r| &r.embeddings).collect::<Vec<_>>())?;
        }
        self.tracks.add(&rows.iter().flat_map(|r| &r.tracks).collect::<Vec<_>>())?;
        self.faces.add(&rows.iter().flat_map(|r| &r.faces).collect::<Vec<_>>())?;
        self.frames.add(&rows.iter().flat_map(|r| &r.frames).collect::<Vec<_>>())?;
        self.media.extend(rows.iter().flat_map(|r| &r.media).cloned());
        Ok(())
    }

    /// # Errors
    /// A part that does not read back as what was written.
    pub fn finish(self) -> Result<WholeSlice, ParquetError> {
        let mut parts = vec![];
        if let Some(embeddings) = self.embeddings {
            parts.push(embeddings.encode()?);
        }
        parts.extend([self.tracks.encode()?, self.faces.encode()?, self.frames.encode()?]);
        Ok(WholeSlice { context: self.context, parts, media: self.media })
    }
}

/// The part that says that a slice is done, and what it comes to.
///
/// # Errors
/// A row without a required value, or a part that does not read back as what was written.
pub fn media_part(
    context: &PartContext,
    rows: &[MediaRow],
    record: Option<&SliceRecord>,
) -> Result<EncodedPart, ParquetError> {
    let mut part = OpenPart::new(context)?;
    part.add(&rows.iter().collect::<Vec<_>>())?;
    if let Some(record) = record {
        part.say(SLICE, record.to_json());
    }
    part.encode()
}
