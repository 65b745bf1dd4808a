//! One slice of a run → the parts of one slice of the new run, a few media at a time. No store, no task: what stops it from
//! outside is a token.

use std::collections::HashSet;
use std::sync::Arc;

use parquet::errors::ParquetError;
use tokio_util::sync::CancellationToken;

use super::recall::{Recall, Recalled, Taken};
use super::scoring::{PlacedScores, Scoring};
use crate::fingerprint::Fingerprint;
use crate::limits;
use crate::pipeline::score::{MediaRows, RunFacts, rows};
use crate::pipeline::slice::{SliceParts, media_part};
use crate::progress::Progress;
use crate::results::fetch::Fetched;
use crate::scorers::ScorerSet;
use crate::tables::PartContext;
use crate::tables::part::{DETECTION_FINGERPRINT, EncodedPart, LIMITS};
use crate::tables::stored::{number_of, stated};

/// Everything that a slice is made from.
pub struct Slice {
    /// `media`, `frames`, `faces`, `embeddings`.
    pub parts: [Fetched; 4],
    pub takes: Vec<Taken>,
    pub scorers: Arc<ScorerSet>,
    pub keep_embeddings: bool,
    pub run_id: String,
    pub dt: String,
    /// Place of the new slice.
    pub slice: u64,
    /// Media that an earlier slice has.
    pub left_out: HashSet<u128>,
    pub progress: Arc<Progress>,
    pub shutdown: CancellationToken,
}

/// A slice that is ready to be committed.
pub struct Done {
    pub parts: Vec<EncodedPart>,
    pub fingerprint: Fingerprint,
    pub embeddings: u64,
}

pub enum Stop {
    /// One of the parts is not what it should be.
    Wrong(String),
    /// Somebody asked to stop.
    Shutdown,
}

impl From<ParquetError> for Stop {
    fn from(error: ParquetError) -> Self {
        Self::Wrong(format!("its rows cannot be encoded: {error}"))
    }
}

impl Slice {
    /// # Errors
    /// Parts that are broken or do not fit together, or a shutdown.
    pub fn score(self) -> Result<Done, Stop> {
        let of_part = |(table, what): (&str, String)| {
            let part = self.parts.iter().find(|part| part.key.starts_with(table));
            Stop::Wrong(format!("part {:?}: {what}", part.map(|part| part.key.as_str()).unwrap_or(table)))
        };
        let metadata = self.parts[0].part.metadata().map_err(|what| of_part(("media", what)))?;
        let detection = stated(&metadata, DETECTION_FINGERPRINT).ok_or_else(|| {
            of_part(("media", format!("expected a {DETECTION_FINGERPRINT}, found none: an older program wrote it")))
        })?;
        let fingerprint = Fingerprint::of(detection, &self.scorers);
        let context = PartContext {
            run_id: self.run_id.clone(),
            dt: self.dt.clone(),
            fingerprint: fingerprint.whole.clone(),
            detection_fingerprint: fingerprint.detection.clone(),
            limits: stated(&metadata, LIMITS).unwrap_or_default().to_owned(),
            shard: 0,
            slice: self.slice,
        };
        let mut facts = RunFacts {
            bucket: String::new(),
            fingerprint: fingerprint.clone(),
            scorers: Arc::clone(&self.scorers),
            keep_embeddings: self.keep_embeddings,
            device: "cpu".to_owned(),
            limits: context.limits.clone(),
        };
        let mut recall =
            Recall::new(self.parts.each_ref().map(|part| &part.part), self.takes.clone(), self.keep_embeddings)
                .map_err(of_part)?;
        let mut parts = SliceParts::new(&context, self.keep_embeddings)?;
        let scoring = Scoring::new(Arc::clone(&self.scorers));
        let mut piece = Piece { media: vec![], rows: 0, scoring, together: MediaRows::default() };
        let mut embeddings = 0;
        let skip = |id: &str| !self.left_out.is_empty() && number_of(id).is_ok_and(|id| self.left_out.contains(&id));
        while let Some(media) = recall.next(&mut piece.scoring, piece.media.len(), skip).map_err(of_part)? {
            if self.shutdown.is_cancelled() {
                return Err(Stop::Shutdown);
            }
            let Some(media) = media else { continue };
            piece.add(media);
            if piece.is_full() {
                embeddings += piece.end(&mut facts, &mut parts, &self.progress)?;
            }
        }
        embeddings += piece.end(&mut facts, &mut parts, &self.progress)?;
        for part in &self.parts {
            part.check_unchanged().map_err(|e| Stop::Wrong(e.to_string()))?;
        }
        let whole = parts.finish()?;
        let media = media_part(&whole.context, &whole.media, None)?;
        let parts = whole.parts.into_iter().chain([media]).collect();
        Ok(Done { parts, fingerprint, embeddings })
    }
}

/// Media that are encoded together. The same ones in every attempt, or parts would differ in their bytes.
struct Piece {
    media: Vec<Recalled>,
    /// Media, frames and faces.
    rows: usize,
    scoring: Scoring,
    /// The rows of all of them; kept, so that they lie in the same memory every time.
    together: MediaRows,
}

impl Piece {
    fn add(&mut self, media: Recalled) {
        let of_frames = media.outcome.iter().flat_map(|embedded| &embedded.frames);
        self.rows += 1 + of_frames.map(|frame| 1 + frame.detections.len()).sum::<usize>();
        self.media.push(media);
    }

    fn is_full(&self) -> bool {
        self.rows >= limits::ENCODED_ROWS
    }

    /// Scores what is left and encodes all of it. Returns how many embeddings were scored.
    fn end(&mut self, facts: &mut RunFacts, parts: &mut SliceParts, progress: &Progress) -> Result<u64, ParquetError> {
        let scored = self.scoring.take();
        let embeddings = scored.len() as u64;
        for PlacedScores { media, crop, scores } in scored {
            if let Ok(embedded) = &mut self.media[media].outcome {
                embedded.crops[crop].scored.scores = scores;
            }
        }
        let together = &mut self.together;
        for Recalled { bucket, outcome } in self.media.drain(..) {
            facts.bucket = bucket;
            let mut rows = rows(outcome, facts);
            progress.finished(&rows);
            together.media.append(&mut rows.media);
            together.frames.append(&mut rows.frames);
            together.faces.append(&mut rows.faces);
            together.tracks.append(&mut rows.tracks);
            together.embeddings.append(&mut rows.embeddings);
        }
        self.rows = 0;
        parts.add(std::slice::from_ref(together))?;
        together.media.clear();
        together.frames.clear();
        together.faces.clear();
        together.tracks.clear();
        together.embeddings.clear();
        Ok(embeddings)
    }
}
