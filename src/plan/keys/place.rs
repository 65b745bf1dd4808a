//! Where the objects of a list are: decided by the first of them, and the same for all.
//!
//! In: buckets, URIs and paths as lists name them. Out: keys in one bucket or one folder.

use std::path::{Component, Path, PathBuf};

use crate::plan::columns::short;
use crate::storage::key;

/// One bucket or one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Bucket(String),
    /// An absolute path.
    Folder(PathBuf),
}

/// The place so far.
#[derive(Debug)]
pub(super) struct Places {
    /// The folder of a list that lies in one.
    home: Option<PathBuf>,
    decided: Option<Place>,
}

impl Places {
    pub fn new(home: Option<PathBuf>) -> Self {
        Self { home, decided: None }
    }

    pub fn decided(&self) -> Option<Place> {
        self.decided.clone()
    }

    /// The key of `s3://bucket/key`, of an absolute path, or of one below the list's folder.
    pub fn key_of_line(&mut self, line: &str) -> Result<String, String> {
        if let Some(rest) = line.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || key.is_empty() {
                return Err(format!("expected s3://bucket/key, found {}", short(line)));
            }
            return self.key_in(bucket, key);
        }
        let Some(home) = self.home.clone() else {
            return Err(format!("expected s3://bucket/key in a list that is in a bucket, found {}", short(line)));
        };
        if let Some((scheme, _)) = line.split_once("://") {
            return Err(format!("expected s3://bucket/key or a path, found the scheme {}", short(scheme)));
        }
        let key = key_of_path(Path::new(line))?;
        self.decide(Place::Folder(if line.starts_with('/') { PathBuf::from("/") } else { home }))?;
        Ok(key)
    }

    /// The key in a bucket, or in a folder as the tables of a local run name it.
    pub fn key_in(&mut self, bucket: &str, key: &str) -> Result<String, String> {
        if bucket.starts_with('/') {
            self.decide(Place::Folder(folder_called(bucket)?))?;
        } else if bucket.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) {
            // Most rows are of the bucket that is known.
            if !matches!(&self.decided, Some(Place::Bucket(decided)) if decided == bucket) {
                self.decide(Place::Bucket(bucket.to_owned()))?;
            }
        } else {
            let found = short(bucket);
            return Err(format!(
                "bucket: expected the name of a bucket or the absolute path of a folder, found {found}"
            ));
        }
        Ok(key.to_owned())
    }

    fn decide(&mut self, place: Place) -> Result<(), String> {
        match &self.decided {
            Some(decided) if *decided != place => Err(format!(
                "expected objects of one bucket, or paths that are all relative or all absolute, found {} and {}: make \
                 a list for each",
                shown(decided),
                shown(&place)
            )),
            Some(_) => Ok(()),
            None => {
                self.decided = Some(place);
                Ok(())
            }
        }
    }
}

/// The folder that rows and stores call so.
pub(super) fn folder_called(bucket: &str) -> Result<PathBuf, String> {
    match bucket.trim_start_matches('/') {
        "" => Ok(PathBuf::from("/")),
        below => key::path_below(Path::new("/"), below).map_err(|e| e.to_string()),
    }
}

fn shown(place: &Place) -> String {
    match place {
        Place::Bucket(bucket) => format!("bucket {}", short(bucket)),
        Place::Folder(folder) => format!("folder {}", short(&folder.to_string_lossy())),
    }
}

/// `./a//b` is `a/b`, as in a listing.
fn key_of_path(path: &Path) -> Result<String, String> {
    let mut parts = vec![];
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(key::part_from_name(name)),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                let found = short(&path.to_string_lossy());
                return Err(format!("expected a path below the list's folder, or an absolute one, found {found}"));
            }
        }
    }
    match parts.is_empty() {
        false => Ok(parts.join("/")),
        true => Err(format!("expected the path of a file, found {}", short(&path.to_string_lossy()))),
    }
}
