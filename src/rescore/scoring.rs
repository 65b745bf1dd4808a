//! Vectors as they are met → scores with the place that each belongs to, some hundred vectors at a time.

use std::sync::Arc;

use crate::limits;
use crate::scorers::{Score, ScorerSet};

/// What the scorers of a pass say of one crop, and which that is.
pub struct PlacedScores {
    /// Of the media, among those that are scored together.
    pub media: usize,
    pub crop: usize,
    pub scores: Vec<Option<Score>>,
}

/// Vectors that wait, and scores that wait for their rows.
pub struct Scoring {
    scorers: Arc<ScorerSet>,
    /// One for each pass.
    batches: Vec<Batch>,
    scored: Vec<PlacedScores>,
}

#[derive(Default)]
struct Batch {
    pooled: Vec<f32>, // [b, width]
    places: Vec<(usize, usize)>,
}

impl Scoring {
    #[must_use]
    pub fn new(scorers: Arc<ScorerSet>) -> Self {
        let batches = scorers.passes().iter().map(|_| Batch::default()).collect();
        Self { scorers, batches, scored: vec![] }
    }

    /// Takes one vector as it is stored, and hands it back as numbers where `keep` says so.
    pub fn push(&mut self, pass: usize, place: (usize, usize), vector: &[[u8; 4]], keep: bool) -> Vec<f32> {
        let Batch { pooled, places } = &mut self.batches[pass];
        let begin = pooled.len();
        pooled.extend(vector.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        places.push(place);
        let kept = if keep { pooled[begin..].to_vec() } else { vec![] };
        if places.len() == limits::STORED_BATCH {
            self.score(pass);
        }
        kept
    }

    /// All scores that are not taken yet.
    pub fn take(&mut self) -> Vec<PlacedScores> {
        (0..self.batches.len()).for_each(|pass| self.score(pass));
        std::mem::take(&mut self.scored)
    }

    fn score(&mut self, pass: usize) {
        let Batch { pooled, places } = &mut self.batches[pass];
        let scores = self.scorers.score_stored(&self.scorers.passes()[pass], pooled);
        let placed = places.drain(..).zip(scores);
        self.scored.extend(placed.map(|((media, crop), scores)| PlacedScores { media, crop, scores }));
        pooled.clear();
    }
}
