//! Stored embeddings of labelled media → something of each: its logit, or the vector that a head would see.

use std::path::Path;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::figures::{Level, Scored};
use super::known::Known;
use crate::error::Error;
use crate::limits;
use crate::rescore::serve::{Wanted, wanted};
use crate::results::fetch::fetch;
use crate::results::source::{EMBEDDINGS, Source};
use crate::scorers::ScorerSet;
use crate::tables::stored::{Cursor, EmbeddingColumns, PartFile, Vectors};

/// Crops of labelled media in the order of the runs, and something of each.
#[derive(Debug, Default)]
pub struct Crops<T> {
    /// For each crop the place of its media among [`Known::media`].
    pub media: Vec<u32>,
    pub frame: Vec<i32>,
    /// Whether the crop is the whole frame.
    pub is_frame: Vec<bool>,
    /// `per_crop` values of each.
    pub values: Vec<T>,
    /// Crops of labelled media of which there is nothing.
    pub without: usize,
}

impl<T> Crops<T> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.media.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.media.is_empty()
    }

    #[must_use]
    pub fn fake(&self, known: &Known) -> Vec<bool> {
        self.media.iter().map(|media| known.media[*media as usize].fake).collect()
    }

    #[must_use]
    pub fn groups(&self, known: &Known) -> Vec<u32> {
        self.media.iter().map(|media| known.media[*media as usize].group).collect()
    }

    fn append(&mut self, mut other: Self) {
        self.media.append(&mut other.media);
        self.frame.append(&mut other.frame);
        self.is_frame.append(&mut other.is_frame);
        self.values.append(&mut other.values);
        self.without += other.without;
    }
}

/// How many vectors are handed over at once: as large a product as the caches hold.
const BATCH: usize = 256;

/// Reads every embedding of a labelled media that one of the scorers' passes wants, several slices at a time.
///
/// `of_batch`: from the place of a pass and [b, width] to what is kept of each of the b vectors, or None.
///
/// # Errors
/// A part that cannot be read.
pub async fn collect<T: Send + Default>(
    sources: &[Source],
    known: &Known,
    set: &ScorerSet,
    scratch: &Path,
    of_batch: impl Fn(usize, &[f32]) -> Vec<Option<Vec<T>>> + Sync,
) -> Result<Crops<T>, Error> {
    let kinds = Kind::of(set);
    let mut all = Crops::default();
    for (at, source) in sources.iter().enumerate() {
        let slices = source.slices(at).await?;
        for some in slices.chunks(rayon::current_num_threads().min(limits::RESCORED_SLICES)) {
            let mut files = vec![];
            for part in some.iter().filter_map(|slice| slice.parts.get(EMBEDDINGS)) {
                files.push((part, fetch(source.store.as_ref(), part, scratch).await?));
            }
            let read: Vec<Result<Crops<T>, Error>> = files
                .par_iter()
                .with_max_len(1)
                .map(|(part, file)| {
                    of_part(&file.part, at, known, &kinds, &of_batch).map_err(|what| source.wrong(&part.key, &what))
                })
                .collect();
            for (crops, (_, file)) in read.into_iter().zip(&files) {
                all.append(crops?);
                file.check_unchanged()?;
            }
        }
    }
    Ok(all)
}

/// What a pass takes, and how many numbers each of its vectors has.
struct Kind(Wanted, usize);

impl Kind {
    fn of(set: &ScorerSet) -> Vec<Self> {
        let widths = set.passes().iter().map(|pass| set.stored_width(pass).unwrap_or_default());
        wanted(set).into_iter().zip(widths).map(|(wanted, width)| Self(wanted, width)).collect()
    }
}

fn of_part<T: Default>(
    file: &PartFile,
    source: usize,
    known: &Known,
    kinds: &[Kind],
    of_batch: impl Fn(usize, &[f32]) -> Vec<Option<Vec<T>>>,
) -> Result<Crops<T>, String> {
    let metadata = file.metadata()?;
    let mut rows = Cursor::<EmbeddingColumns>::new(file, &metadata)?;
    let mut vectors = Vectors::new(file, &metadata)?;
    let mut crops = Crops::default();
    let mut batch = Batch::default();
    while let Some((columns, row)) = rows.row()? {
        let vector = vectors.vector()?;
        let is_of = |kind: &Kind| kind.0.tower == columns.tower.value(row) && kind.0.crop == columns.crop.value(row);
        if let Some(media) = known.place_in(columns.media_id.value(row), source)
            && let Some(pass) = kinds.iter().position(is_of)
        {
            if vector.len() != kinds[pass].1 {
                return Err(format!("expected vectors of {} numbers, found {}", kinds[pass].1, vector.len()));
            }
            if batch.pass != pass || batch.of.len() == BATCH {
                batch.flush(&mut crops, &of_batch);
                batch.pass = pass;
            }
            let is_frame = arrow_array::Array::is_null(&columns.face_index, row);
            batch.of.push((media, columns.frame_index.value(row), is_frame));
            batch.vectors.extend(vector.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        rows.step();
    }
    batch.flush(&mut crops, &of_batch);
    Ok(crops)
}

/// Vectors that wait to be handed over.
#[derive(Default)]
struct Batch {
    pass: usize,
    of: Vec<(u32, i32, bool)>,
    vectors: Vec<f32>,
}

impl Batch {
    fn flush<T>(&mut self, crops: &mut Crops<T>, of_batch: impl Fn(usize, &[f32]) -> Vec<Option<Vec<T>>>) {
        if self.of.is_empty() {
            return;
        }
        let kept = of_batch(self.pass, &self.vectors);
        for ((media, frame, is_frame), kept) in self.of.drain(..).zip(kept) {
            let Some(kept) = kept else {
                crops.without += 1;
                continue;
            };
            crops.media.push(media);
            crops.frame.push(frame);
            crops.is_frame.push(is_frame);
            crops.values.extend(kept);
        }
        self.vectors.clear();
    }
}

/// Figures of crops, of frames and of media, as a run's tables bring scores together: a frame has its own score or the
/// highest of its faces, a media the mean of all.
#[must_use]
pub fn levels<T>(crops: &Crops<T>, known: &Known, probabilities: &[f64]) -> Vec<Level> {
    let (fake, groups) = (crops.fake(known), crops.groups(known));
    let name = if crops.is_frame.iter().all(|is_frame| *is_frame) { "crop" } else { "face" };
    let crop = Level::new(name, Scored { scores: probabilities, fake: &fake, groups: &groups }, crops.without);
    let mut order: Vec<usize> = (0..crops.len()).collect();
    order.sort_by_key(|at| (crops.media[*at], crops.frame[*at]));
    let of_frame = |same: &[usize]| {
        let own = same.iter().find(|at| crops.is_frame[**at]);
        own.map_or_else(|| same.iter().map(|at| probabilities[*at]).fold(0.0, f64::max), |own| probabilities[*own])
    };
    let of_media = |same: &[usize]| same.iter().map(|at| probabilities[*at]).sum::<f64>() / same.len() as f64;
    let frames = order.chunk_by(|a, b| (crops.media[*a], crops.frame[*a]) == (crops.media[*b], crops.frame[*b]));
    let media = order.chunk_by(|a, b| crops.media[*a] == crops.media[*b]);
    let frame = grouped("frame", frames, &of_frame, crops, known);
    let mut media = grouped("media", media, &of_media, crops, known);
    media.without_score = known.media.len() - media.count;
    vec![crop, frame, media]
}

fn grouped<'a, T>(
    of: &'static str,
    parts: impl Iterator<Item = &'a [usize]>,
    score: &dyn Fn(&[usize]) -> f64,
    crops: &Crops<T>,
    known: &Known,
) -> Level {
    let (mut scores, mut fake, mut groups) = (vec![], vec![], vec![]);
    for part in parts {
        let Some(media) = part.first().map(|at| known.media[crops.media[*at] as usize]) else { continue };
        scores.push(score(part));
        fake.push(media.fake);
        groups.push(media.group);
    }
    Level::new(of, Scored { scores: &scores, fake: &fake, groups: &groups }, 0)
}
