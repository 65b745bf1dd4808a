//! Slices on the planner's own disk, in a file without a name, until it is known whose they are.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;
use sha2::{Digest, Sha256};

use super::objects::{SliceReader, SliceWriter};
use super::slices::SliceFacts;
use crate::error::Error;
use crate::limits;
use crate::networks::weights::hexadecimal;
use crate::storage::ObjectMeta;
use crate::tables::stored::{PartBytes, PartFile};

/// Slices that can be read in any order.
pub(super) struct Spilled {
    pub slices: SliceReader<PartFile>,
    /// Of every object and of where slices end.
    pub digest: String,
}

/// Slices as they come → a file of them.
///
/// # Errors
/// A scratch folder that is full or takes no file.
pub(super) fn spill(scratch: &Path, slices: impl Iterator<Item = Vec<ObjectMeta>>) -> Result<Spilled, Error> {
    let folder: PathBuf = scratch.to_owned();
    let failed = |e: &dyn std::fmt::Display| {
        Error::Input(format!(
            "{}: expected a folder with room for the plan, found: {e}; see --scratch",
            folder.display()
        ))
    };
    let file = tempfile::tempfile_in(scratch).map_err(|e| failed(&e))?;
    let mut writer = SliceWriter::uncompressed(BufWriter::new(file)).map_err(|e| failed(&e))?;
    let mut hasher = Sha256::new();
    for slice in slices {
        hash(&mut hasher, &slice);
        writer.add(&slice).map_err(|e| failed(&e))?;
    }
    let file = writer.end().map_err(|e| failed(&e))?.into_inner().map_err(|e| failed(&e))?;
    let size_bytes = file.metadata().map_err(|e| failed(&e))?.len();
    let part = PartFile::new(PartBytes::File(Arc::new(file)), size_bytes);
    let slices = SliceReader::new(part).map_err(|e| failed(&e))?;
    Ok(Spilled { slices, digest: hexadecimal(&hasher.finalize()) })
}

fn hash(hasher: &mut Sha256, slice: &[ObjectMeta]) {
    hasher.update((slice.len() as u64).to_le_bytes());
    for object in slice {
        hasher.update(object.size_bytes.to_le_bytes());
        let modified_us = object.modified.map_or(i64::MIN, |time| time.timestamp_micros());
        hasher.update(modified_us.to_le_bytes());
        for text in [Some(object.key.as_str()), object.etag.as_deref(), object.version_id.as_deref()] {
            hasher.update(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
            hasher.update(text.unwrap_or_default());
        }
    }
}

/// Whether so few slices leave some of the shards without work: then how many there should be instead. A few for each shard, as
/// long as that is not a matter of seconds.
pub(super) fn finer(slices: &[SliceFacts], shards: u32) -> Option<u64> {
    let work: f64 = slices.iter().map(|slice| slice.core_seconds).sum();
    let objects: u64 = slices.iter().map(|slice| u64::from(slice.objects)).sum();
    let shards = u64::from(shards);
    let of_size = (work / limits::SMALL_SLICE_CORE_SECONDS) as u64;
    let wanted = of_size.clamp(shards, shards * limits::SLICES_PER_SHARD).min(objects);
    (shards > 1 && (slices.len() as u64) < wanted).then_some(wanted)
}

/// The same objects in `wanted` slices of about the same work. `work`: of each object, in seconds on one core.
///
/// # Errors
/// As [`spill`], and a file that cannot be read again.
pub(super) fn recut(
    spilled: &Spilled,
    work: &[f32],
    wanted: u64,
    scratch: &Path,
) -> Result<(Spilled, Vec<SliceFacts>), Error> {
    let ends = cuts(work, wanted);
    let (mut facts, mut failed) = (vec![], None);
    let mut objects = (0..spilled.slices.slices()).flat_map(|at| {
        let read = spilled.slices.slice(at).map_err(|e: ParquetError| Error::Input(format!("the plan: {e}")));
        read.unwrap_or_else(|error| {
            failed = Some(error);
            vec![]
        })
    });
    let mut from = 0;
    let slices = ends.iter().map(|end| {
        let slice: Vec<ObjectMeta> = objects.by_ref().take(end - from).collect();
        facts.push(SliceFacts {
            objects: slice.len() as u32,
            bytes: slice.iter().map(|object| object.size_bytes).sum(),
            core_seconds: work[from..*end].iter().map(|work| f64::from(*work)).sum(),
        });
        from = *end;
        slice
    });
    let again = spill(scratch, slices)?;
    failed.map_or(Ok((again, facts)), Err)
}

/// Where slices end, as places behind their last objects: where the work up to there is its share, and early enough that
/// each of those to come has an object.
fn cuts(work: &[f32], wanted: u64) -> Vec<usize> {
    let total: f64 = work.iter().map(|work| f64::from(*work)).sum();
    let (mut done, mut ends, mut begin) = (0.0, vec![], 0);
    for (at, core_seconds) in work.iter().enumerate() {
        done += f64::from(*core_seconds);
        let (end, slices) = (at + 1, ends.len() as u64 + 1);
        let has_its_share = done >= total * slices as f64 / wanted as f64;
        let others_need_the_rest = slices < wanted && (work.len() - end) as u64 <= wanted - slices;
        let is_full = (end - begin) as u64 == limits::SLICE_OBJECTS;
        if has_its_share || others_need_the_rest || is_full || end == work.len() {
            ends.push(end);
            begin = end;
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::cuts;

    #[test]
    fn every_slice_has_its_share_of_the_work_and_at_least_an_object() {
        assert_eq!(cuts(&[1.0; 16], 4), [4, 8, 12, 16]);
        assert_eq!(cuts(&[1.0; 5], 4), [2, 3, 4, 5]);
        assert_eq!(cuts(&[9.0, 1.0, 1.0, 1.0], 4), [1, 2, 3, 4]);
        assert_eq!(cuts(&[1.0, 1.0, 1.0, 9.0], 2), [3, 4]);
        assert_eq!(cuts(&[0.1; 20], 5), [4, 8, 12, 16, 20]);
        assert_eq!(cuts(&[0.0; 3], 3), [1, 2, 3]);
    }

    #[test]
    fn no_slice_is_larger_than_a_part_should_be() {
        assert_eq!(cuts(&[1.0; 2_500], 2), [1_000, 2_000, 2_500]);
    }
}
