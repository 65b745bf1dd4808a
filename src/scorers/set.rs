//! The scorers of one run. What two of them have in common (squares, towers, passes) is there once.
//!
//! In: squares by their recipe. Out: for each square the pooled embedding and, of every scorer that looks at it, a
//! logit and a score; never a number where there is none.

use candle_core::Tensor;
use image::RgbImage;

use super::golden::Golden;
use super::stored::StoredTower;
use super::{Calibration, CropRecipe, EmbeddingRecipe, Head, InputRecipe, Score, Tap};
use crate::error::Error;
use crate::limits;
use crate::networks::NetworkError;
use crate::networks::clip::{ClipVision, ClipVisionConfig, Precision};
use crate::networks::weights::Weights;

/// A tower that has not been read yet.
#[derive(Debug)]
pub(super) struct Tower {
    /// How the embeddings table calls it: its shape and the start of its weights' hash.
    pub id: String,
    pub config: ClipVisionConfig,
    pub weights: Weights,
    pub precision: Precision,
}

/// A scorer with everything but its tower in memory.
#[derive(Debug)]
pub(super) struct Opened {
    pub scorer: Scorer,
    pub tower: Tower,
}

/// A scorer, ready to run.
#[derive(Debug)]
pub struct Scorer {
    /// `name@version`: how every row calls it.
    pub id: String,
    pub licence: String,
    pub source: String,
    pub input: InputRecipe,
    pub embedding: EmbeddingRecipe,
    /// sha256 over everything that changes the number, weights included.
    pub digest: String,
    /// Said wherever the scorer appears.
    pub warning: Option<&'static str>,
    pub calibration: Option<Calibration>,
    /// Of its tower.
    pub precision: Precision,
    pub(super) goldens: Vec<Golden>,
    pub(super) head: Head,
}

impl Scorer {
    /// How many pictures its author wrote a logit down for.
    #[must_use]
    pub fn golden_pictures(&self) -> usize {
        self.goldens.len()
    }
}

/// Squares of one recipe through one tower, for every scorer that wants that.
#[derive(Debug)]
pub struct Pass {
    /// Place in [`ScorerSet::crops`].
    pub crop: usize,
    tower: usize,
    /// Places in [`ScorerSet::scorers`].
    pub scorers: Vec<usize>,
}

/// What is known of one square after its pass.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredCrop {
    /// The pooled output, before projection: one stored vector serves every head of the same tower.
    pub pooled: Vec<f32>,
    /// In the order of [`Pass::scorers`]; none where the tower or the head gave something that is no finite number.
    pub scores: Vec<Option<Score>>,
}

/// Several scorers, or none at all: then there are only detections.
#[derive(Debug)]
pub struct ScorerSet {
    scorers: Vec<Scorer>,
    crops: Vec<CropRecipe>,
    /// How the embeddings table calls each of them.
    crop_ids: Vec<String>,
    passes: Vec<Pass>,
    towers: Vec<(String, Sight)>,
}

/// What is in memory of a tower.
#[derive(Debug)]
pub(super) enum Sight {
    /// All of it, for pictures.
    Pictures(Box<ClipVision>),
    /// What comes behind the pooled output, for vectors that are stored.
    Stored(StoredTower),
}

impl ScorerSet {
    /// # Errors
    /// Two scorers of one name; a tower whose weights are not what its configuration says.
    pub(super) fn new(opened: Vec<Opened>) -> Result<Self, Error> {
        let whole = |tower: &Tower| {
            let vision = ClipVision::with_precision(tower.config.clone(), &tower.weights, tower.precision)?;
            Ok(Sight::Pictures(Box::new(vision)))
        };
        Self::with_towers(opened, whole)
    }

    pub(super) fn with_towers(
        opened: Vec<Opened>,
        open: impl Fn(&Tower) -> Result<Sight, NetworkError>,
    ) -> Result<Self, Error> {
        let mut set = Self::none();
        for Opened { scorer, tower } in opened {
            if set.scorers.iter().any(|other| other.id == scorer.id) {
                return Err(Error::Usage(format!(
                    "scorer {:?}: expected each scorer once, found two: rows could not be told apart",
                    scorer.id
                )));
            }
            let failed = |e: NetworkError| Error::Usage(format!("scorer {:?}: {e}", scorer.id));
            let tower_at = match set.towers.iter().position(|(id, _)| *id == tower.id) {
                Some(at) => at,
                None => {
                    let sight = open(&tower).map_err(failed)?;
                    set.towers.push((tower.id, sight));
                    set.towers.len() - 1
                }
            };
            for recipe in scorer.input.crops() {
                let crop = place(&mut set.crops, |other| other == recipe, || *recipe);
                let same = |pass: &Pass| pass.crop == crop && pass.tower == tower_at;
                let pass = place(&mut set.passes, same, || Pass { crop, tower: tower_at, scorers: vec![] });
                set.passes[pass].scorers.push(set.scorers.len());
            }
            set.scorers.push(scorer);
        }
        set.crop_ids = set.crops.iter().map(CropRecipe::id).collect();
        Ok(set)
    }

    /// No scorer: detections only.
    #[must_use]
    pub fn none() -> Self {
        Self { scorers: vec![], crops: vec![], crop_ids: vec![], passes: vec![], towers: vec![] }
    }

    #[must_use]
    pub fn scorers(&self) -> &[Scorer] {
        &self.scorers
    }

    /// Every kind of square that some scorer wants, each once.
    #[must_use]
    pub fn crops(&self) -> &[CropRecipe] {
        &self.crops
    }

    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// The recipe of a pass, as the embeddings table calls it.
    #[must_use]
    pub fn crop_id(&self, pass: &Pass) -> &str {
        &self.crop_ids[pass.crop]
    }

    /// The tower of a pass, as the embeddings table calls it.
    #[must_use]
    pub fn tower_id(&self, pass: &Pass) -> &str {
        &self.towers[pass.tower].0
    }

    /// Squares of the pass's recipe.
    ///
    /// # Errors
    /// Only a device that fails.
    pub fn score(&self, pass: &Pass, squares: &[&RgbImage]) -> Result<Vec<ScoredCrop>, Error> {
        let tower = match &self.towers[pass.tower] {
            (_, Sight::Pictures(tower)) => tower,
            (id, Sight::Stored(_)) => {
                return Err(Error::Input(format!("tower {id:?}: opened for stored vectors only")));
            }
        };
        let mut scored = Vec::with_capacity(squares.len());
        for squares in squares.chunks(limits::EMBED_BATCH) {
            scored.extend(self.score_batch(pass, tower, squares)?);
        }
        Ok(scored)
    }

    fn score_batch(&self, pass: &Pass, tower: &ClipVision, squares: &[&RgbImage]) -> Result<Vec<ScoredCrop>, Error> {
        let tower_id = self.tower_id(pass);
        let failed = |e: NetworkError| Error::Input(format!("tower {tower_id:?}: {e}"));
        let CropRecipe { mean, deviation, .. } = self.crops[pass.crop];
        let embeddings = tower.forward_squares(squares, mean, deviation).map_err(failed)?;
        let to_rows = |t: &Tensor| t.to_vec2::<f32>().map_err(|e| failed(e.into()));
        let pooled = to_rows(&embeddings.pooled)?;
        let projected = if self.wants_projected(pass) { to_rows(&embeddings.projected)? } else { vec![] };
        let scores = |row: usize| self.scores_of(pass, &pooled[row], projected.get(row).map(Vec::as_slice));
        let scores: Vec<_> = (0..pooled.len()).map(scores).collect();
        Ok(pooled.into_iter().zip(scores).map(|(pooled, scores)| ScoredCrop { pooled, scores }).collect())
    }

    pub(super) fn wants_projected(&self, pass: &Pass) -> bool {
        pass.scorers.iter().any(|at| self.scorers[*at].embedding.tap == Tap::Projected)
    }

    /// What each scorer of the pass makes of one embedding. `projected` is there where one of them wants it.
    pub(super) fn scores_of(&self, pass: &Pass, pooled: &[f32], projected: Option<&[f32]>) -> Vec<Option<Score>> {
        let of_scorer = |at: &usize| {
            let Scorer { embedding, head, .. } = &self.scorers[*at];
            let tapped = match embedding.tap {
                Tap::Pooled => pooled,
                Tap::Projected => projected?,
            };
            head.score(tapped, embedding.l2)
        };
        pass.scorers.iter().map(of_scorer).collect()
    }

    /// What is in memory of a pass's tower.
    pub(super) fn sight(&self, pass: &Pass) -> &Sight {
        &self.towers[pass.tower].1
    }

    /// The logit that one scorer gives one picture that was cut out already.
    pub(super) fn logit_of(&self, scorer: usize, cut_out: &RgbImage) -> Result<Option<f32>, Error> {
        let Some((pass, at)) =
            self.passes.iter().find_map(|pass| Some((pass, pass.scorers.iter().position(|s| *s == scorer)?)))
        else {
            return Ok(None);
        };
        let scored = self.score(pass, &[&self.crops[pass.crop].square(cut_out)])?;
        Ok(scored.first().and_then(|scored| scored.scores[at]).map(|score| score.logit))
    }
}

/// Where the first like it stands; made and put last where there is none.
fn place<T>(all: &mut Vec<T>, is_same: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    all.iter().position(is_same).unwrap_or_else(|| {
        all.push(make());
        all.len() - 1
    })
}
