//! The scorers that a run would open: are their files here, as far as their sizes tell?
//!
//! Comes in: names, a registry, the store of models. Goes out: a finding each. It pulls nothing and reads no file whole.

use super::{Finding, missing, ok, warning};
use crate::error::Error;
use crate::scorers::registry::{Entry, Registry};
use crate::scorers::store::{ModelStore, Presence};
use crate::scorers::{ScorerChoice, precision, read_folder};
use crate::storage::Location;

/// What was asked for.
#[derive(Debug)]
pub struct Scorers {
    pub choices: Vec<ScorerChoice>,
    pub registry: Result<Registry, Error>,
    pub store: Result<ModelStore, Error>,
}

pub(super) async fn examine(scorers: &Scorers, on_cpu: bool, findings: &mut Vec<Finding>) {
    for choice in &scorers.choices {
        let (choice, precision) = precision::of(choice);
        let name = choice.to_string();
        findings.push(match choice {
            ScorerChoice::None | ScorerChoice::UntrainedDemo => ok("model", name.clone(), "needs no files"),
            ScorerChoice::Named(_) => match named(scorers, &name).await {
                Ok(finding) => finding,
                Err(error) => missing("model", &name, error.to_string(), "deepsweep models list"),
            },
        });
        if let Some(obstacle) = precision::obstacle(precision, on_cpu) {
            let rounded = format!("{name}{}", precision::BF16_ENDING);
            findings.push(missing("model", rounded, obstacle, &format!("--scorer {name}")));
        }
    }
}

async fn named(scorers: &Scorers, name: &str) -> Result<Finding, Error> {
    let again = |error: &Error| Error::Usage(error.to_string());
    let registry = scorers.registry.as_ref().map_err(again)?;
    match registry.entry(name) {
        Some(entry) => files_of(entry, name, scorers.store.as_ref().map_err(again)?).await,
        None => read_folder(name.as_ref()).map(|_| ok("model", name, "a scorer folder; models verify opens it")),
    }
}

async fn files_of(entry: &Entry, name: &str, store: &ModelStore) -> Result<Finding, Error> {
    let settings = store.settings();
    let (cache, size) = (settings.cache.display(), bytesize::ByteSize(entry.downloads.size_bytes()).display().iec());
    let pull = format!("deepsweep models pull {name}");
    match (store.presence(&entry.downloads), &settings.location) {
        (Presence::Whole, _) => return Ok(ok("model", name, format!("{size} in {cache}, by the sizes of its files"))),
        (_, Location::S3 { .. }) => {
            let (found, place) = (store.presence_in_bucket(&entry.downloads).await?, &settings.location);
            return Ok(match found {
                Presence::Whole => ok("model", name, format!("{size} in {place}, by size; the first run fetches them")),
                _ => missing("model", name, format!("not whole in {place}"), &format!("{pull} --models {place}")),
            });
        }
        _ => {}
    }
    let found = format!("not whole in {cache}");
    Ok(match settings.hub.offline {
        true => missing("model", name, format!("{found}, and offline"), &pull),
        false => warning("model", name, format!("{found}; the first run pulls {size}"), &pull),
    })
}
