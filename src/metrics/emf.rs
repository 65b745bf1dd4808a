//! One moment of a run → a line of CloudWatch's Embedded Metric Format.
//!
//! Counts are those since the line before, so that the sum of a metric over any time is what happened in it, over any number
//! of workers. Its dimensions are the job and the command: what differs from run to run is a property, which logs are
//! searched by and no metric is made of.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Map, Value, json};

use super::{Figures, Phase};
use crate::error::RejectionClass;
use crate::progress::Stage;

pub const NAMESPACE: &str = "deepsweep";

/// How the run ended, each 0 or 1.
const ENDINGS: [&str; 3] = ["Succeeded", "Interrupted", "Failed"];

/// Without the line's end.
#[must_use]
pub fn line(figures: &Figures<'_>) -> String {
    let (beat, identity) = (figures.beat, figures.identity);
    let mut root = Map::new();
    let mut metrics = vec![];
    let mut metric = |name: &str, unit: &str, value: Value| {
        metrics.push(json!({ "Name": name, "Unit": unit }));
        root.insert(name.to_owned(), value);
    };
    metric("Objects", "Count", beat.rise(|tally| tally.objects).into());
    metric("Bytes", "Bytes", beat.rise(|tally| tally.bytes).into());
    metric("Frames", "Count", beat.rise(|tally| tally.frames).into());
    metric("Faces", "Count", beat.rise(|tally| tally.faces).into());
    metric("Scored", "Count", beat.rise(|tally| tally.scored).into());
    metric("Rejected", "Count", beat.rise(|tally| tally.rejected).into());
    metric("Unreadable", "Count", beat.rise(|tally| tally.unreadable).into());
    // A metric costs by its name: a class that nothing was rejected for has none.
    for class in RejectionClass::ALL {
        let count = beat.rise(|tally| tally.rejected_by_class.get(&class).copied().unwrap_or_default());
        if count > 0 {
            metric(&format!("Rejected{}", camel_case(class.as_str())), "Count", count.into());
        }
    }
    for stage in Stage::ALL {
        let seconds = beat.now.tally.seconds.of(stage) - beat.before.tally.seconds.of(stage);
        metric(&format!("Seconds{}", camel_case(stage.as_str())), "Seconds", seconds.into());
    }
    if let Some(time) = beat.now.compute_time {
        let before = beat.before.compute_time.unwrap_or_default();
        metric("SecondsComputing", "Seconds", time.saturating_sub(before).as_secs_f64().into());
    }
    metric("ObjectsPerSecond", "Count/Second", beat.per_second(|tally| tally.objects).into());
    metric("InFlight", "Count", beat.now.in_flight.into());
    metric("Silence", "Seconds", beat.silence.unwrap_or_default().as_secs_f64().into());
    metric("Throttles", "Count", figures.throttles.saturating_sub(figures.throttles_before).into());
    if beat.now.listing_ended {
        let left = beat.now.listed_objects.saturating_sub(beat.now.tally.objects);
        metric("ObjectsLeft", "Count", left.into());
    }
    if let Some(bytes) = beat.resident_bytes {
        metric("ResidentMemory", "Bytes", bytes.into());
    }
    if let Phase::Ended { exit_code } = figures.phase {
        let ending = match exit_code {
            0 => 0,
            75 => 1, // stopped or throttled: the scheduler tries again
            _ => 2,
        };
        for (at, name) in ENDINGS.into_iter().enumerate() {
            metric(name, "Count", u64::from(at == ending).into());
        }
        metric("Elapsed", "Seconds", beat.now.elapsed.as_secs_f64().into());
        root.insert("ExitCode".to_owned(), exit_code.into());
    }
    let event = if figures.phase == Phase::Running { "heartbeat" } else { "end" };
    let properties = [
        ("Job", figures.job_name),
        ("Command", identity.command),
        ("RunId", &identity.run_id),
        ("Event", event),
        ("Version", env!("CARGO_PKG_VERSION")),
    ];
    root.extend(properties.map(|(name, value)| (name.to_owned(), value.into())));
    root.extend(identity.shard.clone().map(|shard| ("Shard".to_owned(), shard.into())));
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [["Job", "Command"]], "Metrics": metrics });
    let metadata = json!({ "Timestamp": figures.time.timestamp_millis(), "CloudWatchMetrics": [directive] });
    root.insert("_aws".to_owned(), metadata);
    Value::Object(root).to_string()
}

/// `fetch_failed` → `FetchFailed`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}
