//! Scores and labels → the figures of a report: how well scores part fakes from real ones, on faces, on frames and on
//! whole media, each with an interval.

use std::fmt::Write as _;

use serde::Serialize;

use crate::statistics::bootstrap::{Bootstrap, interval};
use crate::statistics::ranking::{Counts, Ranking};

/// 2,000 would settle a third digit that nobody reads.
const RESAMPLES: usize = 500;

/// Any number will do, as long as it is always the same.
const SEED: u64 = 1;

/// The false positive rate at which detectors are compared.
pub const REPORTED_FPR: f64 = 0.01;

/// Places in the scores are those in the labels and the groups.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    pub scores: &'a [f64],
    pub fake: &'a [bool],
    pub groups: &'a [u32],
}

/// Of faces, of frames, or of media.
#[derive(Debug, Clone, Serialize)]
pub struct Level {
    pub of: &'static str,
    pub count: usize,
    pub fake: usize,
    /// With a label and no score.
    pub without_score: usize,
    pub auc: Option<Figure>,
    pub average_precision: Option<Figure>,
    pub equal_error_rate: Option<Figure>,
    pub tpr_at_1pct_fpr: Option<Figure>,
}

/// A figure, and the 95 % interval from resampling groups.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figure {
    pub value: f64,
    pub interval: Option<[f64; 2]>,
}

impl Level {
    /// Figures that do not exist are None: of one class alone, or of nothing.
    #[must_use]
    pub fn new(of: &'static str, scored: Scored, without_score: usize) -> Self {
        let Scored { scores, fake, groups } = scored;
        let ranking = Ranking::new(scores, fake);
        let figure = |value: fn(&Ranking, Counts) -> Option<f64>| {
            let ranking = ranking.as_ref()?;
            let bootstrap = Bootstrap { resamples: RESAMPLES, seed: SEED };
            let interval = interval(groups, bootstrap, |counts| value(ranking, Counts::Of(counts)));
            Some(Figure {
                value: value(ranking, Counts::Once)?,
                interval: interval.map(|interval| [interval.low, interval.high]),
            })
        };
        Self {
            of,
            count: scores.len(),
            fake: fake.iter().filter(|fake| **fake).count(),
            without_score,
            auc: figure(|ranking, counts| ranking.auc(counts)),
            average_precision: figure(|ranking, counts| ranking.average_precision(counts)),
            equal_error_rate: figure(|ranking, counts| ranking.equal_error_rate(counts)),
            tpr_at_1pct_fpr: figure(|ranking, counts| ranking.tpr_at_fpr(counts, REPORTED_FPR)),
        }
    }
}

/// For a person: a line for each level.
#[must_use]
pub fn table(levels: &[Level]) -> String {
    let mut text = format!(
        "  {:<7}{:>9}{:>9}  {:<22}{:<22}{:<22}{}\n",
        "of", "count", "fake", "AUC", "AP", "EER", "TPR at 1 % FPR"
    );
    let cell = |figure: Option<Figure>| match figure {
        Some(Figure { value, interval: Some([low, high]) }) => format!("{value:.3} [{low:.3}, {high:.3}]"),
        Some(Figure { value, interval: None }) => format!("{value:.3}"),
        None => "none".to_owned(),
    };
    for level in levels {
        let Level { of, count, fake, .. } = level;
        let figures = [level.auc, level.average_precision, level.equal_error_rate].map(cell);
        let [auc, ap, eer] = figures;
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "  {of:<7}{count:>9}{fake:>9}  {auc:<22}{ap:<22}{eer:<22}{}", cell(level.tpr_at_1pct_fpr));
    }
    for level in levels.iter().filter(|level| level.without_score > 0) {
        let _ =
            writeln!(text, "  {} {} have a label and no score; they count for nothing", level.without_score, level.of);
    }
    text
}
