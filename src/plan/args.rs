//! `deepsweep plan` as it is typed, and the flags by which a plan takes less than its source.

use clap::Args;

use crate::cli::RunArgs;
use crate::error::RejectionClass;

pub const PLAN_EXAMPLES: &str = "\
Examples:
  deepsweep plan s3://archive/2026/ --out s3://results/faces --scorer none --dry-run
  deepsweep plan jobs/nightly.toml --run-id 2026-11-25T02:00:00Z --shards 64
  deepsweep plan s3://archive/ --out s3://results/faces --retry-failed=denied,fetch_failed --run-id again

Then, on as many machines as there are shards, and once when all of them are done:
  deepsweep work s3://results/faces/_runs/2026-11-25T02:00:00Z
  deepsweep finish s3://results/faces/_runs/2026-11-25T02:00:00Z

A plan is made once: repeated with the same --run-id and settings it is found, with others it is refused.";

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// So many shards, for as many workers [default: so many that each has about an hour of work on two cores]
    #[arg(long, value_name = "N", help_heading = "The run", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub shards: Option<u32>,
    /// Print what the plan would be, and stop
    #[arg(long, help_heading = "The run")]
    pub dry_run: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub struct PlanningFlags {
    /// Sweep also what earlier runs at DEST finished under the same settings
    #[arg(long, help_heading = "Which objects", conflicts_with = "retry_failed")]
    pub include_finished: bool,
    /// Only what earlier runs at DEST rejected for one of these reasons, and no run has finished since [reasons if none is
    /// named: vanished, changed, denied, fetch_failed, panicked]
    #[arg(
        long,
        value_name = "CLASS,…",
        help_heading = "Which objects",
        num_args = 0..,
        require_equals = true,
        value_delimiter = ',',
        value_parser = class
    )]
    pub retry_failed: Option<Vec<RejectionClass>>,
}

fn class(name: &str) -> Result<RejectionClass, String> {
    RejectionClass::named(name).ok_or_else(|| {
        let names: Vec<&str> = RejectionClass::ALL.iter().map(|class| class.as_str()).collect();
        format!("expected one of {}, found {name:?}", names.join(", "))
    })
}
