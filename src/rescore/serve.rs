//! Which stored embeddings a scorer needs, and what to say where the runs have others.

use crate::error::Error;
use crate::results::record::{Provenance, Record, RescoredFrom};
use crate::results::source::{Source, finished_runs};
use crate::scorers::ScorerSet;

/// The rows of `embeddings` that one pass takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub tower: String,
    pub crop: String,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "crop {} by tower {}", self.crop, self.tower)
    }
}

/// For each pass of the set what it takes.
#[must_use]
pub fn wanted(scorers: &ScorerSet) -> Vec<Wanted> {
    let of_pass = |pass| Wanted { tower: scorers.tower_id(pass).to_owned(), crop: scorers.crop_id(pass).to_owned() };
    scorers.passes().iter().map(of_pass).collect()
}

/// Places among the run's scorers of those that look at the same.
#[must_use]
pub fn scorers_of(record: &Record, wanted: &Wanted) -> Vec<usize> {
    let is_of = |scorer: &Provenance| scorer.tower == wanted.tower && scorer.crops.contains(&wanted.crop);
    (0..record.scorers.len()).filter(|at| is_of(&record.scorers[*at])).collect()
}

fn has(record: &Record, wanted: &Wanted) -> bool {
    record.has_embeddings() && !scorers_of(record, wanted).is_empty()
}

/// # Errors
/// `Usage` where a run lacks what a scorer needs: what that is, what the runs have, and the ways out.
pub async fn check(sources: &[Source], scorers: &ScorerSet, named: &str) -> Result<(), Error> {
    for (at, scorer) in scorers.scorers().iter().enumerate() {
        let passes = scorers.passes().iter().zip(wanted(scorers));
        let of_scorer: Vec<Wanted> =
            passes.filter(|(pass, _)| pass.scorers.contains(&at)).map(|(_, wanted)| wanted).collect();
        let lacks = |record: &Record| of_scorer.iter().any(|wanted| !has(record, wanted));
        let Some(lacking) = sources.iter().find(|source| lacks(&source.record)) else { continue };
        let RescoredFrom { run_id, out } = &lacking.from;
        let found = match lacking.record.has_embeddings() {
            true => format!("run {run_id:?} has {}", all(&lacking.record)),
            false => format!(
                "run {run_id:?} has no embeddings (--scorer none, --no-embeddings, or rescored without --keep-embeddings)"
            ),
        };
        let needs: Vec<String> = of_scorer.iter().map(Wanted::to_string).collect();
        let given = sources.iter().filter(|source| !lacks(&source.record)).map(|source| source.from.run_id.clone());
        let mut serving: Vec<String> = given.collect();
        let elsewhere = finished_runs(lacking).await;
        serving.extend(elsewhere.iter().filter(|record| !lacks(record)).map(|record| record.run_id.clone()));
        serving.sort_unstable();
        serving.dedup();
        let way = if serving.is_empty() {
            let source = lacking.record.setting("source").unwrap_or("SOURCE");
            format!(
                "no finished run at {out} has them: deepsweep run {source} --out {out} --scorer {named} makes them and \
                 scores them"
            )
        } else {
            format!("these runs at {out} have them: {}", serving.join(", "))
        };
        let rest = sources.iter().filter(|source| source.from != lacking.from);
        let others: String =
            rest.map(|source| format!(", run {:?} has {}", source.from.run_id, all(&source.record))).collect();
        return Err(Error::Usage(format!(
            "scorer {:?}: expected embeddings of {}; found: {found}{others}; {way}",
            scorer.id,
            needs.join(" and of "),
        )));
    }
    Ok(())
}

/// Every kind of embedding that a run has.
fn all(record: &Record) -> String {
    if !record.has_embeddings() {
        return "none".to_owned();
    }
    let of_scorer = |scorer: &Provenance| {
        let of_crop = |crop: &String| Wanted { tower: scorer.tower.clone(), crop: crop.clone() }.to_string();
        scorer.crops.iter().map(of_crop).collect::<Vec<_>>()
    };
    let mut kinds: Vec<String> = record.scorers.iter().flat_map(of_scorer).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join(" and ")
}
