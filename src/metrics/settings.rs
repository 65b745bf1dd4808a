//! How a run tells its figures: flags as they are typed, and what they come to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::limits;

#[derive(Debug, Clone, Default, Args)]
pub struct MetricsFlags {
    /// Time from one line of progress to the next, and between metrics, such as 1m [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "The run", allow_hyphen_values = true)]
    pub heartbeat: Option<humantime::Duration>,
    /// Metrics for CloudWatch: JSON lines on standard output, nothing else there; the closing table goes to standard error
    #[arg(long, help_heading = "The run")]
    pub emf: bool,
    /// Metrics for Prometheus: a file for the textfile collector of node_exporter, replaced at every heartbeat
    #[arg(long, value_name = "FILE", help_heading = "The run")]
    pub prometheus: Option<PathBuf>,
    /// Whose metrics these are, the same for every run of a job [default: the job file's name, or deepsweep]
    #[arg(long, value_name = "NAME", help_heading = "The run")]
    pub job_name: Option<String>,
}

#[derive(Debug, Clone)]
pub struct MetricsSettings {
    pub heartbeat: Duration,
    pub emf: bool,
    pub prometheus: Option<PathBuf>,
    pub job_name: String,
}

pub const JOB_NAME: &str = "deepsweep";

impl MetricsSettings {
    /// # Errors
    /// What is out of range.
    pub fn check(self) -> Result<Self, String> {
        let (heartbeat, job_name) = (self.heartbeat, &self.job_name);
        // More often than every second it would be the work; less often than once a day nobody would see it.
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&heartbeat) {
            let found = humantime::format_duration(heartbeat);
            return Err(format!("heartbeat: expected 1s to 1day, found {found}"));
        }
        if job_name.is_empty() || job_name.len() > 128 || !job_name.chars().all(is_of_name) {
            return Err(format!(
                "job_name: expected up to 128 letters, digits, '-', '_', ':' or '.', found {job_name:?}"
            ));
        }
        Ok(self)
    }

    /// # Errors
    /// As [`MetricsSettings::check`].
    pub fn of(flags: &MetricsFlags) -> Result<Self, String> {
        Self {
            heartbeat: flags.heartbeat.map_or_else(default_heartbeat, Into::into),
            emf: flags.emf,
            prometheus: flags.prometheus.clone(),
            job_name: flags.job_name.clone().unwrap_or_else(|| JOB_NAME.to_owned()),
        }
        .check()
    }
}

#[must_use]
pub fn default_heartbeat() -> Duration {
    Duration::from_secs(limits::PROGRESS_LINE_SECS)
}

/// The name of a job file without its ending, and with `_` for what a label cannot hold.
#[must_use]
pub fn name_of_job(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().map(|c| if is_of_name(c) { c } else { '_' }).collect()
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:".contains(c)
}
