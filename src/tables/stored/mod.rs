//! Parts that an earlier run wrote, read again: rows in the order in which they stand, a page or a batch at a time.
//!
//! In: the bytes of a part, on a disk or in memory. Out: columns of some rows, and the vectors of embeddings one by one.
//! What is read is checked to be what [`super::part`] writes; messages leave out which part it is, the caller knows.

mod columns;
mod cursor;
mod file;
mod levels;
mod vectors;

pub use self::columns::{
    EarlierMedia, EmbeddingColumns, FaceColumns, FaceScores, FrameColumns, FrameScores, MediaColumns, MediaIds,
    MediaNames, MediaScores, number_of, text,
};
pub use self::cursor::{Columns, Cursor};
pub use self::file::{PartBytes, PartFile, ReadFrom, stated};
pub use self::vectors::Vectors;
