//! Every byte of models against their pins, then the scorer as a run would open it, golden vectors included.
//!
//! In: names of the registry, scorer folders, or nothing for whatever is here. Out: a line for each file and each
//! scorer, and an error where one of them is not what it should be. It mends nothing.

use std::path::Path;

use candle_core::Device;

use super::Around;
use crate::error::Error;
use crate::scorers::file::{HeadEntry, HeadPlace, ScorerFile, TowerPlace};
use crate::scorers::registry::Registry;
use crate::scorers::store::{self, Checked, Downloads, Finding, ModelStore};
use crate::scorers::{Opening, ScorerChoice, precision, read_folder};
use crate::storage::Location;

pub(super) async fn verify(
    names: &[String],
    registry: &Registry,
    store: &ModelStore,
    quiet: bool,
    around: &Around<'_>,
) -> Result<(), Error> {
    // Nobody asked for what is not here, unless by name.
    let all = names.is_empty();
    let names: Vec<&str> = match all {
        true => registry.entries.iter().map(|entry| entry.file.name.as_str()).collect(),
        false => names.iter().map(String::as_str).collect(),
    };
    let say = |line: String| if quiet { Ok(()) } else { (around.print)(&format!("{line}\n")) };
    let (mut seen, mut wrong) = (0, vec![]);
    for name in names {
        // The meaning that the name has for a run.
        let bare = precision::bare(name);
        let mut checked = match registry.entry(bare) {
            Some(entry) => store.check(&entry.downloads).await?,
            None if is_folder(bare) => check_folder(Path::new(bare), store).await?,
            None => return Err(registry.find(bare).err().unwrap_or_else(|| Error::Usage(name.to_owned()))),
        };
        let is_whole = checked.iter().all(|checked| checked.finding == Finding::Whole);
        if all {
            checked.retain(|checked| checked.finding != Finding::Missing);
        }
        for Checked { place, pin, finding } in &checked {
            seen += 1;
            say(match finding {
                Finding::Whole => format!("{name}: ok       {place}"),
                Finding::Missing => format!("{name}: MISSING  {place}"),
                Finding::Other(found) => {
                    format!("{name}: WRONG    {place}: expected {}, found {found}", store::expected(pin, found))
                }
            })?;
            if *finding != Finding::Whole {
                wrong.push(place.clone());
            }
        }
        // Looking at a bucket fills no cache.
        if is_whole && matches!(store.settings().location, Location::Local(_)) {
            seen += 1;
            match open(name, registry, store, around).await {
                Ok(line) => say(format!("{name}: ok       {line}"))?,
                Err(error) => {
                    say(format!("{name}: WRONG    {error}"))?;
                    wrong.push(error.to_string());
                }
            }
        }
    }
    if seen == 0 {
        return say(format!("no models in {}", store.settings().location));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{} of {seen} are not what they should be: {}; deepsweep models pull NAME mends what models list lists",
        wrong.len(),
        wrong.join("; ")
    )))
}

/// Opens the scorer as a run does: tower, head and recipe fit each other, golden pictures give their logits.
async fn open(name: &str, registry: &Registry, store: &ModelStore, around: &Around<'_>) -> Result<String, Error> {
    let open_store = || Ok(store.offline_twin());
    let (device, accept_licence) = (Device::Cpu, true); // looking is not using
    let (store, device, display) = (&open_store, &device, around.display);
    let opening = Opening { registry, store, accept_licence, device, pool: None, display };
    let set = opening.open(&[ScorerChoice::Named(name.to_owned())]).await?;
    let line = set.scorers().iter().map(|scorer| match scorer.golden_pictures() {
        0 => format!("{}: opens; it has no golden pictures", scorer.id),
        count => format!("{}: opens; golden pictures: {count}", scorer.id),
    });
    Ok(line.collect())
}

/// Whatever looks like a path, or is one.
fn is_folder(name: &str) -> bool {
    name.contains('/') || Path::new(name).join("scorer.toml").exists()
}

/// The pins of a scorer of one's own, as far as it has any.
async fn check_folder(folder: &Path, store: &ModelStore) -> Result<Vec<Checked>, Error> {
    let ScorerFile { name, tower, head, .. } = read_folder(folder)?;
    let head = match head {
        HeadEntry::Linear(HeadPlace::Url(head)) => Some(head),
        _ => None,
    };
    match tower.place {
        TowerPlace::Hub(tower) => store.check(&Downloads { name, tower, head }).await,
        TowerPlace::Untrained => match head {
            Some(head) => store.check_url(&head).await,
            None => Ok(vec![]),
        },
        TowerPlace::Folder { path, files } => {
            let check = |(file, pin): (String, _)| {
                let path = folder.join(&path).join(file);
                let finding = store::look(&path, &pin)?;
                Ok(Checked { place: path.display().to_string(), pin, finding })
            };
            let mut checked = files.into_iter().map(check).collect::<Result<Vec<_>, Error>>()?;
            if let Some(head) = head {
                checked.extend(store.check_url(&head).await?);
            }
            Ok(checked)
        }
    }
}
