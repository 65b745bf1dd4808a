//! `deepsweep work` as it is typed: which run, which part of it, and what this machine has. Everything that decides what
//! the rows are stands in the plan.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use crate::cli::{Flags, LogFormat, S3Flags, StoreFlags};
use crate::device::DeviceChoice;
use crate::metrics::MetricsFlags;
use crate::results::place::RunPlace;
use crate::shard::Shard;

pub const WORK_EXAMPLES: &str = "\
Examples:
  deepsweep work s3://results/faces/_runs/nightly                     all of it, or this child's part of an array job
  deepsweep work s3://results/faces/_runs/nightly --shard 3/64

Without --shard the part is that of AWS_BATCH_JOB_ARRAY_INDEX, JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID, where one of
them is set. Repeated, it goes on where it ended; on two machines at once it does no harm.";

#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// A planned run, as DEST/_runs/RUN_ID: a folder or s3://BUCKET/PREFIX/_runs/RUN_ID
    #[arg(value_name = "RUN")]
    pub run: RunPlace,
    /// The I-th of N workers, from 0: takes the plan's shards I, I + N … [default: as the array job says, or all]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    #[command(flatten)]
    pub machine: MachineFlags,
}

/// What a worker may use of its machine, and how it reaches its run.
#[derive(Debug, Clone, Default, Args)]
pub struct MachineFlags {
    /// auto, cpu, cuda or cuda:N [default: auto]
    #[arg(long, help_heading = "Resources and limits")]
    pub device: Option<DeviceChoice>,
    /// Compute threads [default: the cores that this process may use]
    #[arg(long, value_name = "N", help_heading = "Resources and limits", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// For media in flight, compressed and decoded [default: 2GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources and limits")]
    pub memory: Option<ByteSize>,
    /// Where videos lie that are too large for memory [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "FOLDER", help_heading = "Resources and limits")]
    pub scratch: Option<PathBuf>,
    /// What they may take there; a larger one is rejected as too_large [default: 16GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources and limits")]
    pub scratch_size: Option<ByteSize>,
    /// The ffmpeg that decodes; ffprobe stands beside it [default: ffmpeg of PATH]
    #[arg(long, value_name = "FILE", help_heading = "Resources and limits")]
    pub ffmpeg: Option<PathBuf>,
    /// How log lines look [default: text]
    #[arg(long)]
    pub log: Option<LogFormat>,
    /// No progress and no closing table; warnings and errors only
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub metrics: MetricsFlags,
    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}

impl WorkArgs {
    /// As flags of a run, on top of what the plan says.
    #[must_use]
    pub fn flags(&self) -> Flags {
        let MachineFlags { device, threads, memory, scratch, scratch_size, ffmpeg, log, quiet, metrics, store, s3 } =
            self.machine.clone();
        Flags {
            out: Some(self.run.out.clone()),
            run_id: Some(self.run.run_id.clone()),
            device,
            threads,
            memory,
            scratch,
            scratch_size,
            ffmpeg,
            log,
            quiet,
            metrics,
            store,
            s3,
            ..Flags::default()
        }
    }
}
