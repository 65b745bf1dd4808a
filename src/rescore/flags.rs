//! `deepsweep rescore` as it is typed.

use std::path::PathBuf;
use std::str::FromStr;

use bytesize::ByteSize;
use chrono::NaiveDate;
use clap::Args;

use crate::cli::{LogFormat, S3Flags, StoreFlags};
use crate::scorers::ScorerChoice;

pub const EXAMPLES: &str = "\
Examples:
  deepsweep rescore results/_runs/20261123T060449Z-9302 --scorer ./better-head
  deepsweep rescore s3://results/faces/_runs/june s3://results/faces/_runs/july --scorer univfd --run-id summer
  deepsweep rescore results/_runs/june --scorer ./a --scorer ./b --out elsewhere --keep-embeddings
  deepsweep rescore results/_runs/june --scorer ./better-head --run-id july --dt 2026-07-01 --shard 3/16

What was stopped goes on where it ended: repeat the command with the same --run-id. Each of several workers takes its
--shard of the slices; whoever finds them all there writes SUCCESS.json.";

#[derive(Debug, Clone, Args)]
pub struct RescoreArgs {
    /// Finished runs with embeddings, each as DEST/_runs/RUN_ID: a folder or s3://BUCKET/PREFIX/_runs/RUN_ID. A media
    /// that several of them have is taken from the first
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<RunPlace>,
    /// A name of `deepsweep models list`, a scorer folder, or `untrained-demo`; of the tower and crop that the runs have;
    /// may be repeated
    #[arg(long, value_name = "NAME|FOLDER", required = true)]
    pub scorer: Vec<ScorerChoice>,
    /// Where the new tables go: s3://BUCKET/PREFIX or a folder [default: where the first RUN is]
    #[arg(long, short, value_name = "DEST")]
    pub out: Option<String>,
    /// Take scorers whose licence forbids commercial use: you have read it
    #[arg(long)]
    pub accept_licence: bool,
    /// Write the embeddings table too, so that the new run can be scored again without the old ones
    #[arg(long)]
    pub keep_embeddings: bool,

    /// Compute threads [default: the cores that this process may use]
    #[arg(long, value_name = "N", help_heading = "Resources and limits")]
    pub threads: Option<usize>,
    /// For parts in flight, read and written [default: 2GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources and limits")]
    pub memory: Option<ByteSize>,
    /// Where large parts of a bucket lie while they are read [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "FOLDER", help_heading = "Resources and limits")]
    pub scratch: Option<PathBuf>,
    /// What they may take there [default: 16GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources and limits")]
    pub scratch_size: Option<ByteSize>,

    /// Name of the new run [default: the time, and four random digits]
    #[arg(long, value_name = "ID", help_heading = "The run")]
    pub run_id: Option<String>,
    /// Day of the run, for dt= in the tables' paths [default: that of the run that goes on, or today, UTC]
    #[arg(long, value_name = "YYYY-MM-DD", help_heading = "The run")]
    pub dt: Option<NaiveDate>,
    /// Take every N-th slice, from the I-th on (from 0); all shards need the same --run-id [default: 0/1]
    #[arg(long, value_name = "I/N", help_heading = "The run")]
    pub shard: Option<Shard>,
    /// How log lines look [default: text]
    #[arg(long, help_heading = "The run")]
    pub log: Option<LogFormat>,
    /// No progress and no closing table; warnings and errors only
    #[arg(long, help_heading = "The run")]
    pub quiet: bool,

    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}

/// A run by its place: `DEST/_runs/RUN_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlace {
    /// As a location is typed.
    pub out: String,
    pub run_id: String,
}

impl FromStr for RunPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected DEST/_runs/RUN_ID, a folder or s3://BUCKET/PREFIX/_runs/RUN_ID, found {text:?}");
        let trimmed = text.trim_end_matches('/');
        let folder = trimmed.strip_suffix("/SUCCESS.json").unwrap_or(trimmed).trim_end_matches('/');
        let (above, run_id) = folder.rsplit_once('/').ok_or_else(wrong)?;
        let above = above.trim_end_matches('/');
        let out = match above.strip_suffix("_runs") {
            Some("") => ".", // typed where the results are
            Some(out) if out.ends_with('/') => out,
            _ => return Err(wrong()),
        };
        if run_id.is_empty() {
            return Err(wrong());
        }
        // `s3://bucket/` and `/` are places; what else ends with a slash is one without it too.
        let trimmed = out.trim_end_matches('/');
        let out = if trimmed.is_empty() || trimmed.ends_with(':') { out } else { trimmed };
        Ok(Self { out: out.to_owned(), run_id: run_id.to_owned() })
    }
}

/// Which slices one of several workers takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    pub index: u64,
    pub count: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    #[must_use]
    pub fn takes(self, slice: u64) -> bool {
        slice % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(format!("expected I/N, with I from 0 to N - 1, found {text:?}")),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::{RunPlace, Shard};

    #[test]
    fn a_run_is_known_by_its_folder_however_it_is_typed() {
        for (text, out, run_id) in [
            ("results/_runs/a", "results", "a"),
            ("results/_runs/a/", "results", "a"),
            ("results/_runs/a/SUCCESS.json", "results", "a"),
            ("_runs/a", ".", "a"),
            ("/_runs/a", "/", "a"),
            ("s3://bucket/_runs/a/", "s3://bucket", "a"),
            ("s3://bucket/x/y/_runs/a", "s3://bucket/x/y", "a"),
        ] {
            let expected = RunPlace { out: out.to_owned(), run_id: run_id.to_owned() };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "a", "results/a", "results/_runs", "results/_runs/", "results/x_runs/a", "s3://_runs/a/b"] {
            assert!(text.parse::<RunPlace>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_slice_has_one_shard() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for text in ["", "1", "3/3", "0/0", "-1/2", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
