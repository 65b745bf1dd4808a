//! `deepsweep rescore` as it is typed.

use std::path::PathBuf;

use bytesize::ByteSize;
use chrono::NaiveDate;
use clap::Args;

use crate::cli::{LogFlags, S3Flags, StoreFlags};
use crate::metrics::MetricsFlags;
use crate::results::place::RunPlace;
use crate::scorers::ScorerChoice;
use crate::shard::Shard;

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
    #[command(flatten)]
    pub log: LogFlags,
    #[command(flatten)]
    pub metrics: MetricsFlags,

    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}
