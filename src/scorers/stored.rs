//! Scores from embeddings that an earlier run stored: pooled vectors in, the very logits and scores out that a run has
//! which sees the pictures. Of a tower no more is read than its projection.

use super::head::unit_length;
use super::set::{Opened, Sight, Tower};
use super::{EmbeddingRecipe, Opening, Pass, Score, ScorerChoice, ScorerSet, Tap};
use crate::error::Error;
use crate::networks::NetworkError;
use crate::networks::clip::Projection;

/// A tower without its eyes.
#[derive(Debug)]
pub(super) struct StoredTower {
    /// Of a pooled vector.
    width: usize,
    projection: Projection,
}

impl Opening<'_> {
    /// As [`Opening::open`], for vectors that are stored. Golden vectors are pictures, which nothing here can look at.
    ///
    /// # Errors
    /// As [`Opening::open`], but for golden vectors.
    pub async fn open_for_stored(&self, choices: &[ScorerChoice]) -> Result<ScorerSet, Error> {
        let mut opened = vec![];
        for choice in choices {
            opened.extend(self.open_one(choice).await?);
        }
        let set = ScorerSet::for_stored(opened)?;
        for scorer in set.scorers().iter().filter(|scorer| scorer.golden_pictures() > 0) {
            tracing::debug!(scorer = scorer.id, "its golden vectors are not checked: that takes the tower");
        }
        Ok(set)
    }
}

impl ScorerSet {
    fn for_stored(opened: Vec<Opened>) -> Result<Self, Error> {
        let projection_alone = |tower: &Tower| -> Result<Sight, NetworkError> {
            let projection = Projection::new(&tower.config, &tower.weights)?;
            Ok(Sight::Stored(StoredTower { width: tower.config.hidden, projection }))
        };
        Self::with_towers(opened, projection_alone)
    }

    /// How many numbers a stored vector of this pass has; None in a set for pictures.
    #[must_use]
    pub fn stored_width(&self, pass: &Pass) -> Option<usize> {
        match self.sight(pass) {
            Sight::Stored(tower) => Some(tower.width),
            Sight::Pictures(_) => None,
        }
    }

    /// `pooled`: [b, [`ScorerSet::stored_width`]]. For each row what a head would see by another recipe than the
    /// scorers': the pooled vector or its projection, as it is or at unit length; None of a vector that has no direction.
    #[must_use]
    pub fn tapped(&self, pass: &Pass, pooled: &[f32], recipe: EmbeddingRecipe) -> Vec<Option<Vec<f32>>> {
        let Sight::Stored(tower) = self.sight(pass) else { return vec![] };
        let projected: Vec<f32>;
        let (rows, width) = match recipe.tap {
            Tap::Pooled => (pooled, tower.width),
            Tap::Projected => {
                projected = tower.projection.project_here(pooled); // [b, projection]
                (&projected[..], tower.projection.width())
            }
        };
        let of_row = |row: &[f32]| if recipe.l2 { unit_length(row) } else { Some(row.to_vec()) };
        rows.chunks_exact(width).map(of_row).collect()
    }

    /// `pooled`: [b, [`ScorerSet::stored_width`]]. For each row what the scorers of the pass give it, in their order.
    /// Works on this thread alone.
    #[must_use]
    pub fn score_stored(&self, pass: &Pass, pooled: &[f32]) -> Vec<Vec<Option<Score>>> {
        let Sight::Stored(tower) = self.sight(pass) else { return vec![] };
        let rows = pooled.chunks_exact(tower.width);
        if !self.wants_projected(pass) {
            return rows.map(|row| self.scores_of(pass, row, None)).collect();
        }
        let projected = tower.projection.project_here(pooled); // [b, projection]
        let projected = projected.chunks_exact(tower.projection.width());
        rows.zip(projected).map(|(row, projected)| self.scores_of(pass, row, Some(projected))).collect()
    }
}
