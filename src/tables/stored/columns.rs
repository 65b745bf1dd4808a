//! The columns that are read again, by the names under which the tables have them.

use arrow_array::{
    Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};

use super::cursor::{Columns, column};
use crate::networks::mtcnn::{Face, FaceBox};

/// Fields of the same names as their columns, and how they are read.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        pub struct $name { $(pub $field: $kind,)* }

        impl Columns for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            fn of(batch: &RecordBatch) -> Result<Self, String> {
                Ok(Self { $($field: column(batch, stringify!($field))?,)* })
            }
        }
    };
}

columns! {
    /// Which media there are, and nothing more.
    MediaIds { media_id: StringArray, }
}

columns! {
    /// Of `media`: everything but scores.
    MediaColumns {
        media_id: StringArray,
        bucket: StringArray,
        key: StringArray,
        etag: StringArray,
        version_id: StringArray,
        size_bytes: Int64Array,
        modified: TimestampMicrosecondArray,
        status: StringArray,
        error_class: StringArray,
        error_message: StringArray,
        kind: StringArray,
        container: StringArray,
        codec: StringArray,
        width: Int32Array,
        height: Int32Array,
        orientation: Int32Array,
        color_transfer: StringArray,
        duration_s: Float64Array,
        frames_sampled: Int32Array,
        frames_decoded: Int32Array,
        n_faces: Int32Array,
        n_tracks: Int32Array,
        score_max: Float32Array,
        decoder_message: StringArray,
    }
}

columns! {
    /// Of `media`: what became of it, and what it took.
    EarlierMedia {
        media_id: StringArray,
        bucket: StringArray,
        key: StringArray,
        status: StringArray,
        error_class: StringArray,
        kind: StringArray,
        seconds_decode: Float64Array,
        seconds_detect: Float64Array,
        seconds_embed: Float64Array,
    }
}

columns! {
    /// Of `media`: how people call them.
    MediaNames { media_id: StringArray, bucket: StringArray, key: StringArray, status: StringArray, }
}

columns! {
    /// Of `media`: scores.
    MediaScores {
        media_id: StringArray,
        score_mean: Float32Array,
        not_scored_reason: StringArray,
        scorer: StringArray,
    }
}

columns! {
    /// Of `frames`: scores.
    FrameScores {
        media_id: StringArray,
        frame_score: Float32Array,
        not_scored_reason: StringArray,
        scorer: StringArray,
    }
}

columns! {
    /// Of `faces`: scores.
    FaceScores {
        media_id: StringArray,
        logit: Float32Array,
        not_scored_reason: StringArray,
        scorer: StringArray,
    }
}

columns! {
    /// Of `frames`: everything but scores.
    FrameColumns {
        media_id: StringArray,
        frame_index: Int32Array,
        pts_s: Float64Array,
        width: Int32Array,
        height: Int32Array,
        not_scored_reason: StringArray,
    }
}

columns! {
    /// Of `faces`: everything but scores.
    FaceColumns {
        media_id: StringArray,
        frame_index: Int32Array,
        face_index: Int32Array,
        box_x0: Float32Array,
        box_y0: Float32Array,
        box_x1: Float32Array,
        box_y1: Float32Array,
        left_eye_x: Float32Array,
        left_eye_y: Float32Array,
        right_eye_x: Float32Array,
        right_eye_y: Float32Array,
        nose_x: Float32Array,
        nose_y: Float32Array,
        left_mouth_x: Float32Array,
        left_mouth_y: Float32Array,
        right_mouth_x: Float32Array,
        right_mouth_y: Float32Array,
        confidence: Float32Array,
        not_scored_reason: StringArray,
        sharpness: Float32Array,
    }
}

columns! {
    /// Of `embeddings`: everything but the vectors, which [`super::Vectors`] reads.
    EmbeddingColumns {
        media_id: StringArray,
        frame_index: Int32Array,
        face_index: Int32Array,
        crop: StringArray,
        tower: StringArray,
    }
}

impl FaceColumns {
    #[must_use]
    pub fn face(&self, at: usize) -> Face {
        let of = |column: &Float32Array| column.value(at);
        Face {
            bounds: FaceBox { x0: of(&self.box_x0), y0: of(&self.box_y0), x1: of(&self.box_x1), y1: of(&self.box_y1) },
            landmarks: [
                [of(&self.left_eye_x), of(&self.left_eye_y)],
                [of(&self.right_eye_x), of(&self.right_eye_y)],
                [of(&self.nose_x), of(&self.nose_y)],
                [of(&self.left_mouth_x), of(&self.left_mouth_y)],
                [of(&self.right_mouth_x), of(&self.right_mouth_y)],
            ],
            confidence: of(&self.confidence),
        }
    }
}

/// A text that may be null.
#[must_use]
pub fn text(column: &StringArray, at: usize) -> Option<&str> {
    column.is_valid(at).then(|| column.value(at))
}

/// An id as the number that its 32 digits are.
///
/// # Errors
/// Something else.
pub fn number_of(media_id: &str) -> Result<u128, String> {
    u128::from_str_radix(media_id, 16).map_err(|_| format!("media_id: expected 32 digits, found {media_id:?}"))
}
