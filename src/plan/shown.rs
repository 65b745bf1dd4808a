//! A plan as a person reads it.

use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;

use super::make::PromisedCounts;
use super::{LeftOut, Plan};

/// Cores of the machine that hours are told for.
const CORES: f64 = 2.0;

pub(super) fn table(plan: &Plan, promised: Option<PromisedCounts>, out: &str, dry_run: bool) -> String {
    let Plan { run_id, objects, bytes, core_seconds, left_out, shards, .. } = plan;
    let mut text = format!("plan of run {run_id}\n");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}"); // writing to a String cannot fail
    };
    let kinds = promised.map(|PromisedCounts { images, videos, others }| {
        format!(": by their endings {images} images, {videos} videos, {others} others")
    });
    line("objects", format!("{objects} ({}){}", ByteSize(*bytes).display().iec(), kinds.unwrap_or_default()));
    let LeftOut { finished, filtered, repeated } = left_out;
    line("left out", format!("{finished} finished by earlier runs, {filtered} by filters, {repeated} named twice"));
    line("expected", format!("about {} on {CORES} cores", duration(core_seconds / CORES)));
    let longest = shards.iter().map(|shard| shard.core_seconds).fold(0.0, f64::max);
    line(
        "shards",
        format!(
            "{}, {} slices, the longest about {} on {CORES} cores",
            shards.len(),
            plan.slices(),
            duration(longest / CORES)
        ),
    );
    if dry_run {
        line("dry run", "nothing was written".to_owned());
    } else {
        let out = out.trim_end_matches('/');
        line("next", format!("deepsweep work {out}/_runs/{run_id}"));
        line("", format!("deepsweep finish {out}/_runs/{run_id}"));
    }
    text
}

fn duration(seconds: f64) -> humantime::FormattedDuration {
    let whole = if seconds < 60.0 { seconds.ceil() } else { (seconds / 60.0).ceil() * 60.0 };
    humantime::format_duration(Duration::from_secs(whole as u64))
}
