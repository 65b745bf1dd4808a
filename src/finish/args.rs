//! `deepsweep finish` as it is typed.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{LogFlags, S3Flags};
use crate::results::place::RunPlace;

#[derive(Debug, Clone, Args)]
pub struct FinishArgs {
    /// A planned run whose workers are done, as DEST/_runs/RUN_ID: a folder or s3://BUCKET/PREFIX/_runs/RUN_ID
    #[arg(value_name = "RUN")]
    pub run: RunPlace,
    /// Share of objects that rights or the network may keep from being read; broken files do not count [default: as the
    /// plan says]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub max_failed: Option<f64>,
    /// Merge the parts into few large ones too, below DEST/compact: a second root with the same tables
    #[arg(long)]
    pub compact: bool,
    /// Where large parts of a bucket lie while they are merged [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
    #[command(flatten)]
    pub log: LogFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}
