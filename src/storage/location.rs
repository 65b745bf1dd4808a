//! A SOURCE or DEST as a person types it, taken apart once.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `s3://bucket/prefix`, a folder or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    S3 { bucket: String, prefix: String },
    Local(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(format!("{text:?}: expected s3://BUCKET/PREFIX, found no bucket"));
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!("{text:?}: expected s3://BUCKET/PREFIX or a local path, found the scheme {scheme:?}"));
        }
        if text.is_empty() {
            return Err("expected s3://BUCKET/PREFIX or a local path, found nothing".to_owned());
        }
        Ok(Self::Local(PathBuf::from(text)))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}
