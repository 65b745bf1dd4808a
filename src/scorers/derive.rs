//! A scorer that is there → the folder of another one that differs from it in some of its words.
//!
//! What the words name is taken along: small files are copied, a tower stays where it is. The folder appears whole or not
//! at all, and never in the place of another.

use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use super::file::{HeadEntry, HeadPlace, ScorerFile};
use super::load::CONFIGS;
use super::locate::Words;
use super::registry::Registry;
use super::{Opening, ScorerChoice, precision, untrained};
use crate::error::Error;
use crate::networks::clip::Precision;

/// The words of a scorer.toml, and the files that are to stand beside it.
#[derive(Debug, Clone)]
pub struct Derived {
    table: Table,
    files: Vec<(String, Content)>,
    /// What the tower's path was relative to.
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone)]
enum Content {
    CopyOf(PathBuf),
    Bytes(Vec<u8>),
}

/// The golden picture, where a scorer is made here.
const GOLDEN: &str = "golden.png";

/// In this order they are read most easily; a table must not stand before a plain field.
const ORDER: [&str; 10] =
    ["name", "version", "licence", "source", "tower", "input", "embedding", "head", "calibration", "golden"];

impl Derived {
    /// From what `--scorer` names; a folder states no precision, its name does.
    ///
    /// # Errors
    /// `none`; a scorer that is not there, or whose words are wrong.
    pub fn from(choice: &ScorerChoice, registry: &Registry) -> Result<Self, Error> {
        let (choice, _) = precision::of(choice);
        let name = &match choice {
            ScorerChoice::None => {
                return Err(Error::Usage("scorer \"none\": expected a scorer with a tower, found none".to_owned()));
            }
            ScorerChoice::UntrainedDemo => return Ok(Self::of_untrained()),
            ScorerChoice::Named(name) => name,
        };
        let words = match registry.entry(name) {
            Some(entry) => Words::of_entry(entry, registry),
            None => Words::of_folder(Path::new(name))?,
        };
        let mut derived = Self { table: words.table.clone(), files: vec![], folder: words.folder.clone() };
        derived.take_along(&words)?;
        Ok(derived)
    }

    fn of_untrained() -> Self {
        let files = vec![("head.safetensors".to_owned(), Content::Bytes(untrained::head_file()))];
        Self { table: untrained::words(), files, folder: None }
    }

    fn take_along(&mut self, words: &Words) -> Result<(), Error> {
        let ScorerFile { tower, head, golden, .. } = &words.file;
        let mut beside = vec![];
        if let Some(config) = &tower.config {
            match CONFIGS.iter().find(|(name, _)| words.folder.is_none() && Some(*name) == config.to_str()) {
                Some((name, text)) => self.files.push(((*name).to_owned(), Content::Bytes((*text).into()))),
                None => beside.push((vec!["tower", "config"], config)),
            }
        }
        if let Some(overlay) = &tower.overlay {
            beside.push((vec!["tower", "overlay"], overlay));
        }
        if let HeadEntry::Linear(HeadPlace::File(file)) | HeadEntry::ZeroShot { file, .. } = head {
            beside.push((vec!["head", "file"], file));
        }
        for (place, path) in beside {
            let name = self.copy(words, path)?;
            if let [table, field] = place[..]
                && let Some(Value::Table(table)) = self.table.get_mut(table)
            {
                table.insert(field.to_owned(), Value::String(name));
            }
        }
        for (at, entry) in golden.iter().enumerate() {
            let name = self.copy(words, &entry.picture)?;
            if let Some(Value::Table(entry)) =
                self.table.get_mut("golden").and_then(Value::as_array_mut).and_then(|all| all.get_mut(at))
            {
                entry.insert("picture".to_owned(), Value::String(name));
            }
        }
        Ok(())
    }

    /// By its own name; the same file twice is one.
    fn copy(&mut self, words: &Words, path: &Path) -> Result<String, Error> {
        let from = words.beside(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match self.files.iter().find(|(other, _)| *other == name) {
            Some((_, Content::CopyOf(other))) if *other == from => {}
            Some(_) => return Err(words.wrong(&format_args!("expected files of different names, found two {name:?}"))),
            None => self.files.push((name.clone(), Content::CopyOf(from))),
        }
        Ok(name)
    }

    /// What a plain field says.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.table.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.table.insert(field.to_owned(), value.into());
    }

    pub fn set_table<const N: usize>(&mut self, name: &str, fields: [(&str, Value); N]) {
        self.set(name, Table::from_iter(fields.map(|(field, value)| (field.to_owned(), value))));
    }

    pub fn remove(&mut self, field: &str) {
        self.table.remove(field);
    }

    /// A file that stands beside the words, under this name or, where that is taken, one like it. Gives the name.
    pub fn put_new_file(&mut self, name: &str, bytes: Vec<u8>) -> String {
        let mut free = name.to_owned();
        while self.files.iter().any(|(other, _)| *other == free) {
            free = format!("new-{free}");
        }
        self.files.push((free.clone(), Content::Bytes(bytes)));
        free
    }

    /// Leaves out the head, and its file where it has one.
    pub fn drop_head(&mut self) {
        let dropped = self.table.remove("head");
        self.drop_files(dropped);
    }

    /// Leaves out the golden vectors and their pictures.
    pub fn drop_golden(&mut self) {
        let dropped = self.table.remove("golden");
        self.drop_files(dropped);
    }

    /// Files that were named in what was dropped, and are named nowhere else.
    fn drop_files(&mut self, dropped: Option<Value>) {
        let names = |value: &Value, name: &str| value.to_string().contains(&format!("{name:?}"));
        let Some(dropped) = dropped else { return };
        let table = Value::Table(self.table.clone());
        self.files.retain(|(name, _)| !names(&dropped, name) || names(&table, name));
    }

    /// As [`Derived::write`], with a golden vector: what the scorer, on this machine, says of a picture that every copy of
    /// this program has. Gives the new scorer's id. `precision`: in which it will be used.
    ///
    /// # Errors
    /// Likewise; a scorer that cannot be opened, or that misses its golden vector in that precision.
    pub async fn write_with_golden(
        mut self,
        folder: &Path,
        precision: Precision,
        opening: &Opening<'_>,
    ) -> Result<String, Error> {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| cannot_write(folder, &e))?;
        let trial =
            tempfile::Builder::new().prefix(".trying-").tempdir_in(parent).map_err(|e| cannot_write(folder, &e))?;
        let tried = trial.path().join("scorer");
        self.write(&tried)?;
        let set = opening.open(&[ScorerChoice::Named(tried.display().to_string())]).await?;
        let picture = untrained::golden()?.picture;
        let Some(logit) = set.logit_of(0, &picture)? else {
            return Err(Error::Usage("golden vector: expected a finite logit, found none".to_owned()));
        };
        let name = self.put_new_file(GOLDEN, untrained::PICTURE.to_vec());
        let golden = [("picture".to_owned(), name.into()), ("logit".to_owned(), f64::from(logit).into())];
        self.set("golden", vec![Value::Table(golden.into_iter().collect())]);
        if precision == Precision::Bf16 && precision.is_here() {
            let tried = trial.path().join("rounded");
            self.write(&tried)?;
            opening.open(&[ScorerChoice::Named(precision::named(&tried, precision))]).await?;
        }
        self.write(folder)?;
        Ok(set.scorers().first().map(|scorer| scorer.id.clone()).unwrap_or_default())
    }

    /// # Errors
    /// A folder that is there already, or that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let shown = folder.display().to_string();
        let failed = |e: std::io::Error| cannot_write(folder, &e);
        if folder.symlink_metadata().is_ok() {
            return Err(Error::Usage(format!("scorer folder {shown:?}: expected a new one, found one that exists")));
        }
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        std::fs::create_dir_all(&parent).map_err(failed)?;
        let making = tempfile::Builder::new().prefix(".making-").tempdir_in(&parent).map_err(failed)?;
        for (name, content) in &self.files {
            let target = making.path().join(name);
            match content {
                Content::CopyOf(from) => std::fs::copy(from, &target).map(drop),
                Content::Bytes(bytes) => std::fs::write(&target, bytes),
            }
            .map_err(failed)?;
        }
        let words = self.words(&parent).map_err(|what| Error::Usage(format!("scorer folder {shown:?}: {what}")))?;
        std::fs::write(making.path().join("scorer.toml"), words).map_err(failed)?;
        allow_others(making.path()).map_err(failed)?;
        std::fs::rename(making.path(), folder).map_err(failed)?;
        let _ = making.keep(); // it has moved
        Ok(())
    }

    /// scorer.toml, as it stands in a folder below `parent`.
    fn words(&self, parent: &Path) -> Result<String, String> {
        let mut table = self.table.clone();
        if let Some(Value::Table(tower)) = table.get_mut("tower")
            && let Some(path) = tower.get("path").and_then(Value::as_str)
        {
            let path = self.folder.as_deref().unwrap_or(Path::new(".")).join(path);
            // One step deeper than `parent`: by its name alone it does not matter.
            let path = if Path::new(tower["path"].as_str().unwrap_or_default()).is_absolute() {
                path
            } else {
                Path::new("..").join(relative(parent, &path).map_err(|e| format!("tower.path: {e}"))?)
            };
            tower.insert("path".to_owned(), Value::String(path.display().to_string()));
        }
        let mut text = String::new();
        for field in ORDER {
            if let Some(value) = table.remove(field) {
                if value.is_table() || value.is_array() {
                    text.push('\n');
                }
                let alone = Table::from_iter([(field.to_owned(), value)]);
                text.push_str(&toml::to_string(&alone).map_err(|e| e.to_string())?);
            }
        }
        ScorerFile::parse(&text)?;
        Ok(text)
    }
}

fn cannot_write(folder: &Path, error: &std::io::Error) -> Error {
    Error::Input(format!("scorer folder {:?}: cannot be written: {error}", folder.display().to_string()))
}

/// A temporary folder is for its owner alone.
fn allow_others(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

/// The way from one folder to another, both of which are there.
fn relative(from: &Path, to: &Path) -> std::io::Result<PathBuf> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}
