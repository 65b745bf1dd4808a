//! One moment of a run → the text that Prometheus reads, version 0.0.4 of its exposition format.
//!
//! Counters count from the start of the run. Every sample names the job, and the shard where there are several, so that the
//! files of one machine do not contradict each other; the run's name is on `deepsweep_run_info` alone.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::Write as _;

use super::{Figures, Phase};
use crate::error::RejectionClass;
use crate::progress::Stage;

const LAST_SUCCESS: &str = "deepsweep_last_success_timestamp_seconds";
const FIRST: &str = "# HELP deepsweep_";

#[must_use]
pub fn text(figures: &Figures<'_>, last_success: Option<i64>) -> String {
    let (now, identity) = (&figures.beat.now, figures.identity);
    let tally = &now.tally;
    let common = match &identity.shard {
        Some(shard) => format!("job_name=\"{}\",shard=\"{shard}\"", figures.job_name),
        None => format!("job_name=\"{}\"", figures.job_name),
    };
    let mut text = Text { text: String::new(), common, name: String::new() };
    let info = format!(
        "run_id=\"{}\",command=\"{}\",version=\"{}\"",
        identity.run_id,
        identity.command,
        env!("CARGO_PKG_VERSION")
    );
    text.family("gauge", "run_info", "The run that this file is of.").sample(&info, 1.0);
    let running = f64::from(u8::from(figures.phase == Phase::Running));
    text.family("gauge", "running", "1 while the run works, 0 once it has ended.").sample("", running);
    text.family("gauge", "start_timestamp_seconds", "When the run began, in seconds since 1970.")
        .sample("", figures.started.timestamp() as f64);
    text.family("gauge", "heartbeat_timestamp_seconds", "When this file was written, in seconds since 1970.")
        .sample("", figures.time.timestamp() as f64);
    text.family("gauge", "last_success_timestamp_seconds", "When a run of this file last ended well.");
    if let Some(time) = last_success {
        text.sample("", time as f64);
    }
    text.family("gauge", "exit_code", "How the run ended: its exit code, once it has one.");
    if let Phase::Ended { exit_code } = figures.phase {
        text.sample("", exit_code.into());
    }
    text.family("gauge", "elapsed_seconds", "Time since the first object was asked for.")
        .sample("", now.elapsed.as_secs_f64());
    text.family("gauge", "listed_objects", "Objects that were listed so far.").sample("", now.listed_objects as f64);
    text.family("gauge", "listed_bytes", "Their size.").sample("", now.listed_bytes as f64);
    let counts = [
        ("objects_total", "Objects that have their rows.", tally.objects),
        ("bytes_total", "Size of the objects that have their rows.", tally.bytes),
        ("frames_total", "Frames that were looked at.", tally.frames),
        ("faces_total", "Faces that were found.", tally.faces),
        ("scored_media_total", "Media that have a score.", tally.scored),
        ("media_without_face_total", "Media that were looked at and show no face.", tally.no_face),
        ("unreadable_total", "Objects that rights, the network or a bug kept from being read.", tally.unreadable),
        ("s3_throttles_total", "Answers of S3 that asked for fewer requests.", figures.throttles),
    ];
    for (name, help, count) in counts {
        text.family("counter", name, help).sample("", count as f64);
    }
    text.family("counter", "rejected_total", "Objects without a result, by error_class.");
    for class in RejectionClass::ALL {
        let count = tally.rejected_by_class.get(&class).copied().unwrap_or_default();
        text.sample(&format!("class=\"{}\"", class.as_str()), count as f64);
    }
    text.family("counter", "stage_seconds_total", "Time spent in each stage, summed over what goes on side by side.");
    for stage in Stage::ALL {
        text.sample(&format!("stage=\"{}\"", stage.as_str()), tally.seconds.of(stage));
    }
    text.family("gauge", "in_flight_objects", "Objects that were begun and have no rows yet.")
        .sample("", now.in_flight as f64);
    text.family("gauge", "stage_in_hand", "What each stage has in hand: objects, frames, batches or parts.");
    for (stage, count) in Stage::ALL.iter().zip(now.at_work) {
        text.sample(&format!("stage=\"{}\"", stage.as_str()), count as f64);
    }
    text.family("gauge", "silence_seconds", "Time without an object finished, as of the last heartbeat.")
        .sample("", figures.beat.silence.unwrap_or_default().as_secs_f64());
    text.family("gauge", "resident_memory_bytes", "Memory of the process, decoders of videos left out.");
    if let Some(bytes) = figures.beat.resident_bytes {
        text.sample("", bytes as f64);
    }
    text.family("counter", "compute_cpu_seconds_total", "Processor time of the compute threads.");
    if let Some(time) = now.compute_time {
        text.sample("", time.as_secs_f64());
    }
    text.text
}

struct Text {
    text: String,
    /// The labels of every sample.
    common: String,
    /// What the samples are of.
    name: String,
}

impl Text {
    fn family(&mut self, kind: &str, name: &str, help: &str) -> &mut Self {
        self.name = format!("deepsweep_{name}");
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {0} {help}\n# TYPE {0} {kind}", self.name);
        self
    }

    fn sample(&mut self, labels: &str, value: f64) -> &mut Self {
        let Self { text, common, name } = self;
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = writeln!(text, "{name}{{{common}{comma}{labels}}} {value}");
        self
    }
}

/// Whether a run wrote this.
#[must_use]
pub fn is_ours(text: &str) -> bool {
    text.starts_with(FIRST)
}

/// What an earlier run says of the last one that ended well.
#[must_use]
pub fn last_success(text: &str) -> Option<i64> {
    let line = text.lines().find(|line| line.starts_with(LAST_SUCCESS))?;
    line.rsplit_once(' ')?.1.parse().ok()
}
