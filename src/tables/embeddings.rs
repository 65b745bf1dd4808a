//! `embeddings`: what the tower said of each crop, kept apart so that queries over scores stay small.

use super::{Column, Table, int32, list_float32, text};

#[derive(Debug, Clone)]
pub struct EmbeddingRow {
    pub media_id: String,
    pub key: String,
    pub frame_index: i32,
    /// None: the crop was the whole frame.
    pub face_index: Option<i32>,
    pub crop: String,
    pub tower: String,
    pub vector: Vec<f32>,
}

impl Table for EmbeddingRow {
    const NAME: &'static str = "embeddings";
    const SORTED_BY: &'static [&'static str] = &["key", "frame_index", "face_index"];
    #[rustfmt::skip]
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "media_id", unit: "", required: true, meaning: "The media it belongs to", values: |r| text(r, |r| Some(&r.media_id)) },
        Column { name: "key", unit: "", required: true, meaning: "Key of that media", values: |r| text(r, |r| Some(&r.key)) },
        Column { name: "frame_index", unit: "", required: true, meaning: "Number of the frame in the order in which the video shows them, from 0; 0 for an image", values: |r| int32(r, |r| Some(r.frame_index)) },
        Column { name: "face_index", unit: "", required: false, meaning: "Number of the face in its frame; null where the crop is the whole frame", values: |r| int32(r, |r| r.face_index) },
        Column { name: "crop", unit: "", required: true, meaning: "How the crop was made: what was cut out, how it was resized, and the start of a hash of the whole recipe", values: |r| text(r, |r| Some(&r.crop)) },
        Column { name: "tower", unit: "", required: true, meaning: "Shape of the tower and start of its weights' hash: vectors of one tower and one crop may be compared", values: |r| text(r, |r| Some(&r.tower)) },
        Column { name: "vector", unit: "", required: true, meaning: "The pooled output, before projection, not normalised: serves every head of the same tower. A crop whose vector is not finite has no row", values: |r| list_float32(r, |r| &r.vector) },
    ];
}
