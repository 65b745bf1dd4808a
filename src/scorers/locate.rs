//! What `--scorer` names → its words, and then every file that they speak of on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::OpenStore;
use super::file::{HeadEntry, HeadPlace, ScorerFile, TowerPlace};
use super::registry::{Entry, Registry};
use super::store::{Downloads, FilePin, Finding, ModelFiles, expected, look};
use crate::error::Error;
use crate::progress::Display;

/// What a scorer's author wrote, and where.
#[derive(Debug)]
pub(super) struct Words {
    pub file: ScorerFile,
    /// The same as it is written.
    pub table: toml::Table,
    /// How messages call it.
    pub origin: String,
    /// Where the files that the words name lie; none for the scorers that are built in.
    pub folder: Option<PathBuf>,
}

/// A scorer whose files are all here; none of them has been read but to check it.
#[derive(Debug)]
pub(super) struct Located {
    pub words: Words,
    /// Empty where the tower has no files.
    pub tower: PathBuf,
    /// Where the head has a file of its own.
    pub head: Option<PathBuf>,
}

impl Words {
    pub(super) fn of_entry(entry: &Entry, registry: &Registry) -> Self {
        Self {
            file: entry.file.clone(),
            table: entry.table.clone(),
            origin: format!("scorer {:?}", entry.file.name),
            folder: registry.path.as_deref().and_then(Path::parent).map(Path::to_owned),
        }
    }

    /// # Errors
    /// A folder without `scorer.toml`, or words that are wrong.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("scorer.toml");
        let text = crate::files::read_text(&path).map_err(|e| {
            if e.kind() == std::io::ErrorKind::PermissionDenied {
                return Error::Input(format!("scorer file {:?}: cannot be read: {e}", path.display().to_string()));
            }
            Error::Usage(format!(
                "scorer {:?}: expected a name of deepsweep models list, or a folder with scorer.toml, found: {e}; \
                 other choices: --scorer none (detections only), --scorer untrained-demo",
                folder.display().to_string()
            ))
        })?;
        let origin = format!("scorer file {:?}", path.display().to_string());
        let file = ScorerFile::parse(&text).map_err(|what| Error::Usage(format!("{origin}: {what}")))?;
        let table = text.parse().map_err(|what| Error::Usage(format!("{origin}: {what}")))?;
        Ok(Self { file, table, origin, folder: Some(folder.to_owned()) })
    }

    /// A file that the scorer brings along.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.folder.as_deref().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// An error in the words or the files of this scorer.
    pub(super) fn wrong(&self, what: &dyn std::fmt::Display) -> Error {
        Error::Usage(format!("{}: {what}", self.origin))
    }
}

/// Pulls what lies elsewhere, and checks what is pinned.
///
/// # Errors
/// Files that cannot be had, or that are not what the words say.
pub(super) async fn locate(words: Words, store: OpenStore<'_>, display: &Display) -> Result<Located, Error> {
    let url = match &words.file.head {
        HeadEntry::Linear(HeadPlace::Url(url)) => Some(url.clone()),
        _ => None,
    };
    let (tower, pulled_head) = match &words.file.tower.place {
        TowerPlace::Hub(files) => {
            let downloads = Downloads { name: words.file.name.clone(), tower: files.clone(), head: url };
            let ModelFiles { tower, head } = store()?.ensure_scorer(&downloads, display).await?;
            (tower, head)
        }
        place => {
            let tower = match place {
                TowerPlace::Folder { path, files } => {
                    let tower = words.beside(path);
                    check_pins(&words, &tower, files)?;
                    tower
                }
                _ => PathBuf::new(),
            };
            match &url {
                Some(url) => (tower, Some(store()?.ensure_url(&url.url, &url.pin, display).await?)),
                None => (tower, None),
            }
        }
    };
    let head = match &words.file.head {
        HeadEntry::Linear(HeadPlace::File(path)) | HeadEntry::ZeroShot { file: path, .. } => Some(words.beside(path)),
        _ => pulled_head,
    };
    Ok(Located { words, tower, head })
}

/// A tower of one's own against what the scorer says of its files.
fn check_pins(words: &Words, tower: &Path, pins: &BTreeMap<String, FilePin>) -> Result<(), Error> {
    for (name, pin) in pins {
        let path = tower.join(name);
        let (expected, found) = match look(&path, pin)? {
            Finding::Whole => continue,
            Finding::Missing => (format!("{} bytes", pin.size_bytes), "no such file".to_owned()),
            Finding::Other(found) => (expected(pin, &found), found),
        };
        let path = path.display().to_string();
        return Err(words.wrong(&format_args!("tower file {path:?}: expected {expected}, found {found}")));
    }
    Ok(())
}
