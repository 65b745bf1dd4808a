//! The scorers that have names: `models/registry.toml`, or a registry of one's own.
//!
//! In: TOML. Out: what each scorer is called, what it is for, and which files it needs. It opens none of them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

use super::file::{HeadEntry, HeadPlace, ScorerFile, TowerPlace};
use super::store::Downloads;
use crate::error::Error;

/// Compiled in: `models list` and `--scorer NAME` work wherever the program does.
const BUILT_IN: &str = include_str!("../../models/registry.toml");

/// So that name and summary stand on the lines of the narrowest terminal.
const MAX_SUMMARY_CHARS: usize = 76;

/// Scorers by name, in the order of the file.
#[derive(Debug, Clone)]
pub struct Registry {
    pub entries: Vec<Entry>,
    /// `None`: the built-in one.
    pub path: Option<PathBuf>,
}

/// One scorer of a registry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Everything that a scorer.toml says.
    pub file: ScorerFile,
    /// The same as it is written.
    pub table: Table,
    /// What it is for, in one line.
    pub summary: String,
    /// Figures of others, none of them measured here.
    pub published: Vec<Published>,
    pub downloads: Downloads,
}

/// A figure that somebody else measured.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub what: String,
    pub value: String,
    pub source: String,
}

impl Registry {
    /// The registry at `path`, or the built-in one.
    ///
    /// # Errors
    /// A file that cannot be read, or an entry that lacks what a download needs.
    pub fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else {
            return Self::parse(BUILT_IN).map_err(|what| Error::Usage(format!("the built-in registry: {what}")));
        };
        let named =
            |what: &dyn std::fmt::Display| Error::Usage(format!("registry {:?}: {what}", path.display().to_string()));
        let text = crate::files::read_text(path).map_err(|e| named(&format_args!("cannot be read: {e}")))?;
        let registry = Self::parse(&text).map_err(|what| named(&what))?;
        Ok(Self { path: Some(path.to_owned()), ..registry })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: RegistryFile = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut entries: Vec<Entry> = vec![];
        for table in file.scorer {
            let entry = Entry::parse(table)?;
            if entries.iter().any(|other| other.file.name == entry.file.name) {
                return Err(format!("scorer {:?}: expected each name once, found it twice", entry.file.name));
            }
            entries.push(entry);
        }
        Ok(Self { entries, path: None })
    }

    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.file.name == name)
    }

    /// # Errors
    /// A name that no entry has, with those that there are.
    pub fn find(&self, name: &str) -> Result<&Entry, Error> {
        self.entry(name).ok_or_else(|| {
            let names: Vec<&str> = self.entries.iter().map(|entry| entry.file.name.as_str()).collect();
            let place = match &self.path {
                Some(path) => format!("the registry {:?}", path.display().to_string()),
                None => "the built-in registry".to_owned(),
            };
            Error::Usage(format!("model {name:?}: expected a name of {place} ({}), found none", names.join(", ")))
        })
    }
}

impl Entry {
    fn parse(mut table: Table) -> Result<Self, String> {
        let name = table.get("name").and_then(|name| name.as_str()).unwrap_or("without a name").to_owned();
        let named = |what: &dyn std::fmt::Display| format!("scorer {name:?}: {what}");
        let mut own = Table::new();
        own.extend(["summary", "published"].into_iter().filter_map(|key| Some((key.to_owned(), table.remove(key)?))));
        let RegistryWords { summary, published } = own.try_into().map_err(|e| named(&e))?;
        if ["none", "untrained-demo"].contains(&name.as_str()) {
            return Err(named(&"name: expected one that --scorer does not mean otherwise"));
        }
        if summary.contains('\n') || summary.chars().count() > MAX_SUMMARY_CHARS {
            return Err(named(&format_args!(
                "summary: expected one line of at most {MAX_SUMMARY_CHARS} characters, found {}",
                summary.chars().count()
            )));
        }
        let file = ScorerFile::from_table(table.clone()).map_err(|e| named(&e))?;
        let TowerPlace::Hub(tower) = file.tower.place.clone() else {
            return Err(named(&"tower: expected repository with revision and files, found a path"));
        };
        let head = match &file.head {
            HeadEntry::Linear(HeadPlace::Url(head)) => Some(head.clone()),
            _ => None,
        };
        Ok(Self { downloads: Downloads { name, tower, head }, file, table, summary, published })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    scorer: Vec<Table>,
}

/// What a registry says of a scorer beside its scorer.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryWords {
    summary: String,
    #[serde(default)]
    published: Vec<Published>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_registry_is_whole() {
        let registry = Registry::open(None).unwrap();
        let names: Vec<&str> = registry.entries.iter().map(|entry| entry.file.name.as_str()).collect();
        assert_eq!(names, ["clip-b32", "clip-b32-laion", "univfd", "gend-clip-l14"]);
        for entry in &registry.entries {
            assert!(
                entry.downloads.tower.files.keys().any(|name| name.ends_with(".safetensors")),
                "{}",
                entry.file.name
            );
        }
        assert_eq!(registry.find("univfd").unwrap().downloads.size_bytes(), 1_710_540_580 + 4_519 + 4_083);
        let message = registry.find("clip").unwrap_err().to_string();
        assert!(message.contains("clip-b32-laion") && message.contains("built-in"), "{message}");
    }

    #[test]
    fn an_entry_that_cannot_be_pinned_down_is_an_error_that_names_it() {
        let whole = "[[scorer]]\nname = 'x'\nversion = '1'\nlicence = 'MIT'\nsource = 'y'\nsummary = 'z'\n\
                     embedding = { tap = 'pooled', l2 = true }\n\
                     input = { crop = 'box', margin = 0.3, resize = 'squash', size_px = 224, mean = [0, 0, 0], \
                     deviation = [1, 1, 1] }\nhead.kind = 'linear'\nhead.prefix = 'h.'\n[scorer.tower]\nrepository = 'o/n'\n\
                     revision = '0123456789012345678901234567890123456789'\n[scorer.tower.files]\n'a.json' = \
                     { sha256 = '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', size_bytes = 1 }";
        assert_eq!(Registry::parse(whole).unwrap().entries[0].file.id(), "x@1");
        for (from, to, named) in [
            ("revision = '0123456789012345678901234567890123456789'", "revision = 'main'", "40 digits"),
            ("repository = 'o/n'", "repository = 'https://o/n'", "owner/name"),
            ("size_bytes = 1", "size_bytes = 0", "size_bytes"),
            ("sha256 = '0", "sha256 = 'unknown", "64 hexadecimal digits"),
            ("{ sha256", "{ md5 = 'x', sha256", "md5"),
            ("'a.json'", "'../a.json'", ".."),
            ("head.prefix = 'h.'", "head.url = 'https://x/y'", "head.pin"),
            ("margin = 0.3", "margins = 0.3", "margins"),
            ("summary = 'z'", "", "summary"),
        ] {
            let message = Registry::parse(&whole.replace(from, to)).unwrap_err();
            assert!(message.contains(named) && message.contains("\"x\""), "{from}: {message}");
        }
        let twice = format!("{whole}\n{whole}");
        assert!(Registry::parse(&twice).unwrap_err().contains("twice"));
    }
}
