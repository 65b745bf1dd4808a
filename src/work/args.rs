//! `deepsweep work` as it is typed: which run, which part of it, and what this machine has. Everything that decides what
//! the rows are stands in the plan.

use clap::Args;

use crate::cli::{Flags, MachineFlags};
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

impl WorkArgs {
    /// As flags of a run, on top of what the plan says.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags {
            out: Some(self.run.out.clone()),
            run_id: Some(self.run.run_id.clone()),
            machine: self.machine.clone(),
            ..Flags::default()
        }
    }
}
