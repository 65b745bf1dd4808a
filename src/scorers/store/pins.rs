//! What a file must be before it is believed, and where it comes from.
//!
//! In: the words of a scorer. Out: files with their pins, each checked to be one. It opens nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Size and content of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePin {
    /// 64 hexadecimal digits in lower case.
    pub sha256: String,
    pub size_bytes: u64,
}

/// Files of one commit of a repository on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFiles {
    /// `owner/name`.
    pub repository: String,
    /// A commit, 40 digits: a branch moves.
    pub revision: String,
    /// By their path in the repository.
    pub files: BTreeMap<String, FilePin>,
}

/// A file that lies on no hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlFile {
    pub url: String,
    pub pin: FilePin,
}

/// Everything of one scorer that has to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloads {
    /// Of the scorer, for messages.
    pub name: String,
    pub tower: HubFiles,
    /// Where the head is a file of its own.
    pub head: Option<UrlFile>,
}

/// One file that has to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its path below the cache and below a mirror's prefix.
    pub address: String,
    pub pin: FilePin,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Hub { repository: String, revision: String, file: String },
    Url(String),
}

impl FilePin {
    /// # Errors
    /// One line that names the field, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if self.sha256.len() != 64 || !self.sha256.chars().all(is_digit) {
            return Err(format!("sha256: expected 64 hexadecimal digits in lower case, found {:?}", self.sha256));
        }
        if self.size_bytes == 0 {
            return Err("size_bytes: expected the size of the file, found 0".to_owned());
        }
        Ok(())
    }
}

impl HubFiles {
    /// # Errors
    /// As [`FilePin::check`]; names that could leave a folder are refused.
    pub fn check(&self) -> Result<(), String> {
        let is_name = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && part.chars().all(allowed) && !part.starts_with('.')
        };
        if !self.repository.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name)) {
            return Err(format!("repository: expected owner/name, found {:?}", self.repository));
        }
        if self.revision.len() != 40 || !self.revision.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(format!("revision: expected the 40 digits of a commit, found {:?}", self.revision));
        }
        if self.files.is_empty() {
            return Err("files: expected the sha256 and size of every file that is needed, found none".to_owned());
        }
        for (name, pin) in &self.files {
            if !name.split('/').all(is_name) {
                return Err(format!("files: expected a path inside the repository, found {name:?}"));
            }
            pin.check().map_err(|what| format!("files.{name:?}.{what}"))?;
        }
        Ok(())
    }

    /// Where its folder lies below a cache or a mirror: the name says what it is, to whoever looks there.
    pub(super) fn address(&self) -> String {
        format!("hub/{}@{}", self.repository.replace('/', "--"), self.revision)
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let folder = self.address();
        let file = |(name, pin): (&String, &FilePin)| Wanted {
            address: format!("{folder}/{name}"),
            pin: pin.clone(),
            origin: Origin::Hub {
                repository: self.repository.clone(),
                revision: self.revision.clone(),
                file: name.clone(),
            },
        };
        self.files.iter().map(file).collect()
    }
}

impl Downloads {
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.wanted().iter().map(|wanted| wanted.pin.size_bytes).sum()
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = self.tower.wanted();
        wanted.extend(self.head.as_ref().map(UrlFile::wanted));
        wanted
    }
}

impl UrlFile {
    /// # Errors
    /// As [`FilePin::check`]; a URL that is none, or that ends without a file's name.
    pub fn check(&self) -> Result<(), String> {
        let parsed = reqwest::Url::parse(&self.url).map_err(|e| format!("url: {:?}: {e}", self.url))?;
        if !matches!(parsed.scheme(), "https" | "http") || self.file_name().is_none() {
            return Err(format!("url: expected https://HOST/…/FILE, found {:?}", self.url));
        }
        self.pin.check().map_err(|what| format!("pin.{what}"))
    }

    /// By content: the same bytes from two URLs are one file.
    pub(super) fn wanted(&self) -> Wanted {
        let name = self.file_name().unwrap_or_else(|| "file".to_owned());
        Wanted {
            address: format!("url/{}/{name}", self.pin.sha256),
            pin: self.pin.clone(),
            origin: Origin::Url(self.url.clone()),
        }
    }

    fn file_name(&self) -> Option<String> {
        let parsed = reqwest::Url::parse(&self.url).ok()?;
        let name = parsed.path_segments()?.next_back()?.to_owned();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (!name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)).then_some(name)
    }
}

impl Wanted {
    /// As messages call it: what a person can look up.
    pub fn name(&self) -> String {
        match &self.origin {
            Origin::Hub { repository, revision, file } => {
                format!("{file} of {repository} at {}", revision.get(..12).unwrap_or(revision))
            }
            Origin::Url(url) => url.clone(),
        }
    }
}
