//! The slices of a plan → the objects to sweep, each with its place.
//!
//! An object that the filter leaves out is not part of the plan; one that it lets through gets its row, whatever it turns
//! out to be.

use chrono::{DateTime, Utc};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::storage::ObjectMeta;
use crate::tables::media::Seconds;

/// One object on its way through the pipeline, and what the stages learn about it.
#[derive(Debug, Clone)]
pub struct Media {
    /// Its place among all that go through this pipeline, from 0.
    pub seq: u64,
    /// Whose part files have its rows.
    pub slice: SliceAt,
    pub object: ObjectMeta,
    pub kind: Option<&'static str>,
    pub container: Option<&'static str>,
    pub codec: Option<&'static str>,
    /// Width and height after orientation.
    pub size_px: Option<(u32, u32)>,
    /// As EXIF counts them; what was applied.
    pub orientation: Option<u8>,
    /// As ffmpeg spells it.
    pub color_transfer: Option<String>,
    pub duration_s: Option<f64>,
    /// Frames that were wanted; None: one for an image, and none for a video that did not get so far.
    pub frames_sampled: Option<i32>,
    /// What the decoder complained of and went on.
    pub decoder_message: Option<String>,
    pub seconds: Seconds,
}

impl Media {
    #[must_use]
    pub fn new(seq: u64, slice: SliceAt, object: ObjectMeta) -> Self {
        Self {
            seq,
            slice,
            object,
            kind: None,
            container: None,
            codec: None,
            size_px: None,
            orientation: None,
            color_transfer: None,
            duration_s: None,
            frames_sampled: None,
            decoder_message: None,
            seconds: Seconds::default(),
        }
    }

    /// Frames one after another: a video, or an animation that is sampled as one.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        self.frames_sampled.is_some()
    }
}

/// Which objects of a listing belong to the run. The default lets everything through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// At least one must match the key, if there are any.
    pub include: Option<GlobSet>,
    /// None may match the key.
    pub exclude: Option<GlobSet>,
    pub min_bytes: Option<u64>,
    pub max_bytes: Option<u64>,
    pub modified_after: Option<DateTime<Utc>>,
    pub modified_before: Option<DateTime<Utc>>,
}

impl Filter {
    /// An object without a time passes no bound on time.
    #[must_use]
    pub fn lets_through(&self, object: &ObjectMeta) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.is_match(&object.key))
            && !self.exclude.as_ref().is_some_and(|globs| globs.is_match(&object.key))
            && self.min_bytes.is_none_or(|min| object.size_bytes >= min)
            && self.max_bytes.is_none_or(|max| object.size_bytes <= max)
            && self.modified_after.is_none_or(|bound| object.modified.is_some_and(|time| time >= bound))
            && self.modified_before.is_none_or(|bound| object.modified.is_some_and(|time| time < bound))
    }
}

/// A slice of the plan: what one part file of each table holds.
#[derive(Debug, Clone)]
pub struct PlannedSlice {
    pub at: SliceAt,
    pub objects: Vec<ObjectMeta>,
}

/// Where a slice stands, in the plan and among those that go through the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SliceAt {
    /// The shard that it belongs to, and its number there: the name of its parts.
    pub shard: u32,
    pub slice: u64,
    /// The `seq` of its first object.
    pub first_seq: u64,
    pub objects: u64,
}

impl PlannedSlice {
    /// Its objects, each with its place.
    pub fn media(self) -> impl Iterator<Item = Media> {
        let at = self.at;
        self.objects.into_iter().zip(at.first_seq..).map(move |(object, seq)| Media::new(seq, at, object))
    }
}

/// Globs, and endings whatever their case. None where there is nothing to match.
///
/// # Errors
/// A glob that is none.
pub fn globs(patterns: &[String], suffixes: &[String]) -> Result<Option<GlobSet>, String> {
    let mut set = GlobSetBuilder::new();
    let mut add = |pattern: &str, any_case: bool| {
        let glob = GlobBuilder::new(pattern).case_insensitive(any_case).build();
        glob.map(|glob| set.add(glob)).map(|_| ()).map_err(|e| format!("glob {pattern:?}: {e}"))
    };
    patterns.iter().try_for_each(|pattern| add(pattern, false))?;
    suffixes.iter().try_for_each(|suffix| add(&format!("*{}", globset::escape(suffix)), true))?;
    if patterns.is_empty() && suffixes.is_empty() {
        return Ok(None);
    }
    set.build().map(Some).map_err(|e| e.to_string())
}
