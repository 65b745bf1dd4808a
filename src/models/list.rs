//! What there is to choose from, for a person or a program. Reads sizes, never contents.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::size;
use crate::scorers::registry::{Entry, Registry};
use crate::scorers::store::{ModelStore, Presence};
use crate::scorers::{CropRecipe, Cut};

/// Three lines for each scorer, so that nothing is cut at 80 columns.
pub(super) fn table(registry: &Registry, store: &ModelStore) -> String {
    let head = ["NAME", "LOOKS AT", "LICENCE", "SIZE", "HERE"].map(str::to_owned);
    let rows = registry.entries.iter().map(|entry| {
        [
            entry.file.name.clone(),
            looks_at(entry),
            entry.file.licence.clone(),
            size(entry.downloads.size_bytes()),
            here(store.presence(&entry.downloads)).to_owned(),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |[name, looks_at, licence, size, here]: &[String; 5]| {
        let [a, b, c, d] = [wide(0), wide(1), wide(2), wide(3)];
        format!("{name:a$}  {looks_at:b$}  {licence:c$}  {size:>d$}  {here}\n")
    };
    let mut text = line(&rows[0]);
    for (row, entry) in rows[1..].iter().zip(&registry.entries) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{}    {}\n    {}\n", line(row), entry.summary, entry.downloads.tower.repository);
    }
    text + &format!(
        "\nBeside these: none (faces, no scores) and untrained-demo (random weights, to try\n\
         the way through). Fetch one with deepsweep models pull NAME; they are kept in\n\
         {}\n",
        store.settings().location
    )
}

/// Everything that a registry says of its scorers, and what of it is here.
pub(super) fn json(registry: &Registry, store: &ModelStore) -> String {
    let entry = |entry: &Entry| {
        let files = store.files_of(&entry.downloads);
        json!({
            "name": entry.file.name,
            "version": entry.file.version,
            "summary": entry.summary,
            "looks_at": entry.file.input.words(),
            "licence": entry.file.licence,
            "source": entry.file.source,
            "size_bytes": entry.downloads.size_bytes(),
            "here": here(store.presence(&entry.downloads)),
            "tower": {
                "repository": entry.downloads.tower.repository,
                "revision": entry.downloads.tower.revision,
                "files": entry.downloads.tower.files,
                "folder": files.tower,
            },
            "head": entry.downloads.head.as_ref().map(|head| json!({ "url": head.url, "pin": head.pin, "path": files.head })),
            "published": entry.published,
        })
    };
    let entries: Value = registry.entries.iter().map(entry).collect();
    format!("{entries:#}\n")
}

fn looks_at(entry: &Entry) -> String {
    let word = |crop: &CropRecipe| match crop.cut {
        Cut::Box { .. } => "faces",
        Cut::Align5(_) => "aligned faces",
        Cut::Frame => "whole frames",
    };
    entry.file.input.crops().iter().map(word).collect::<Vec<_>>().join(", ")
}

fn here(presence: Presence) -> &'static str {
    match presence {
        Presence::Whole => "yes",
        Presence::Part => "part",
        Presence::None => "no",
    }
}
