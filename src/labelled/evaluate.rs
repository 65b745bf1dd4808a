//! `deepsweep evaluate`: a run's scores and labels → how well they part fakes from real ones. It changes nothing.

use std::path::Path;

use serde::Serialize;

use super::args::EvaluateArgs;
use super::figures::{Level, Scored, table};
use super::known::{Counts, Known};
use crate::error::Error;
use crate::results::fetch::fetch;
use crate::results::source::{FACES, FRAMES, MEDIA, Source};
use crate::tables::stored::{Columns, Cursor, FaceScores, FrameScores, MediaScores, text};

#[derive(Debug, Serialize)]
pub struct EvaluateReport {
    pub labels: Counts,
    pub scorers: Vec<ScorerReport>,
}

#[derive(Debug, Serialize)]
pub struct ScorerReport {
    pub scorer: String,
    pub levels: Vec<Level>,
}

/// # Errors
/// Labels that do not fit the runs; runs without a scorer; a scorer that gave labelled media no score at all.
pub async fn evaluate(args: &EvaluateArgs, sources: &[Source], scratch: &Path) -> Result<EvaluateReport, Error> {
    let known = Known::of(sources, &args.labelled, scratch).await?;
    let mut ids: Vec<&str> =
        sources.iter().flat_map(|source| &source.record.scorers).map(|scorer| scorer.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Error::Usage("runs: expected scores, found none: they were made with --scorer none".to_owned()));
    }
    let mut taken = Taken(ids.iter().map(|_| vec![None; known.media.len()]).collect());
    // Media first: they say which run each is taken from.
    let media = read::<MediaScores>(sources, MEDIA, &known, &ids, &mut taken, scratch).await?;
    let frames = read::<FrameScores>(sources, FRAMES, &known, &ids, &mut taken, scratch).await?;
    let faces = read::<FaceScores>(sources, FACES, &known, &ids, &mut taken, scratch).await?;
    let mut scorers = vec![];
    for (at, id) in ids.iter().enumerate() {
        let levels = [("face", &faces[at]), ("frame", &frames[at]), ("media", &media[at])];
        let levels: Vec<Level> = levels.into_iter().filter_map(|(of, column)| column.level(of, &known)).collect();
        if !levels.iter().any(|level| level.of == "media" && level.count > 0) {
            return Err(Error::Usage(format!(
                "scorer {id:?}: expected scores of labelled media, found that all are null: {}",
                media[at].why()
            )));
        }
        scorers.push(ScorerReport { scorer: (*id).to_owned(), levels });
    }
    Ok(EvaluateReport { labels: known.counts, scorers })
}

/// For each scorer and media the run that it is taken from: the first that has both. So a run and its rescoring can be
/// held side by side.
struct Taken(Vec<Vec<Option<usize>>>);

impl Taken {
    fn is_from(&mut self, scorer: usize, media: u32, source: usize) -> bool {
        *self.0[scorer][media as usize].get_or_insert(source) == source
    }
}

/// Scores of one scorer on one level, and of which media.
#[derive(Default)]
struct Column {
    scores: Vec<f64>,
    media: Vec<u32>,
    /// Reasons of those that are null, each with how often it occurs.
    null: std::collections::BTreeMap<String, usize>,
}

impl Column {
    /// None where nothing has a score: a scorer of frames gives none to faces.
    fn level(&self, of: &'static str, known: &Known) -> Option<Level> {
        let labels: Vec<_> = self.media.iter().map(|media| known.media[*media as usize]).collect();
        let fake: Vec<bool> = labels.iter().map(|label| label.fake).collect();
        let groups: Vec<u32> = labels.iter().map(|label| label.group).collect();
        let scored = Scored { scores: &self.scores, fake: &fake, groups: &groups };
        (!self.scores.is_empty()).then(|| Level::new(of, scored, self.null.values().sum()))
    }

    fn why(&self) -> String {
        let reasons: Vec<String> = self.null.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.join(", ")
    }
}

/// Columns of scores, whichever table they are of.
trait ScoreColumns: Columns {
    fn media_id(&self, at: usize) -> &str;
    fn scorer(&self, at: usize) -> Option<&str>;
    fn score(&self, at: usize) -> Result<f64, String>;
}

macro_rules! score_columns {
    ($columns:ident, $score:ident) => {
        impl ScoreColumns for $columns {
            fn media_id(&self, at: usize) -> &str {
                self.media_id.value(at)
            }

            fn scorer(&self, at: usize) -> Option<&str> {
                text(&self.scorer, at)
            }

            fn score(&self, at: usize) -> Result<f64, String> {
                use arrow_array::Array;
                if self.$score.is_valid(at) {
                    return Ok(f64::from(self.$score.value(at)));
                }
                Err(text(&self.not_scored_reason, at).unwrap_or("no reason").to_owned())
            }
        }
    };
}

// Where scores come near to 1 only logits tell them apart.
score_columns!(FaceScores, logit);
score_columns!(FrameScores, frame_score);
score_columns!(MediaScores, score_mean);

/// For each scorer its column.
async fn read<C: ScoreColumns>(
    sources: &[Source],
    table: usize,
    known: &Known,
    ids: &[&str],
    taken: &mut Taken,
    scratch: &Path,
) -> Result<Vec<Column>, Error> {
    let mut columns: Vec<Column> = ids.iter().map(|_| Column::default()).collect();
    for (at, source) in sources.iter().enumerate() {
        for slice in source.slices(at).await? {
            let part = &slice.parts[table];
            let wrong = |what: String| source.wrong(&part.key, &what);
            let fetched = fetch(source.store.as_ref(), part, scratch).await?;
            let metadata = fetched.part.metadata().map_err(wrong)?;
            let mut cursor = Cursor::<C>::new(&fetched.part, &metadata).map_err(wrong)?;
            while let Some((found, row)) = cursor.row().map_err(wrong)? {
                let scorer = found.scorer(row).and_then(|scorer| ids.iter().position(|id| *id == scorer));
                if let Some(media) = known.place(found.media_id(row))
                    && let Some(scorer) = scorer
                    && taken.is_from(scorer, media, at)
                {
                    let column = &mut columns[scorer];
                    match found.score(row) {
                        Ok(score) => {
                            column.scores.push(score);
                            column.media.push(media);
                        }
                        Err(reason) => *column.null.entry(reason).or_default() += 1,
                    }
                }
                cursor.step();
            }
            fetched.check_unchanged()?;
        }
    }
    Ok(columns)
}

impl EvaluateReport {
    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { labels, scorers } = self;
        let mut text = format!(
            "media      {} labelled, {} of them fake, in {} groups; {} without a label\n",
            labels.labelled_media, labels.fake_media, labels.groups, labels.media_without_label
        );
        for ScorerReport { scorer, levels } in scorers {
            text.push_str(&format!("scorer {scorer}\n{}", table(levels)));
        }
        text
    }
}
