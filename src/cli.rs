//! The command line, and nothing else: flags as they are typed, not yet resolved.
//!
//! A job file says the same under the same names ([`crate::job`]), so each name stands here once.

use std::path::PathBuf;

use bytesize::ByteSize;
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::device::DeviceChoice;
use crate::doctor::DoctorArgs;
use crate::ffmpeg::contain::ContainArgs;
use crate::finish::args::FinishArgs;
use crate::labelled::args::{
    CALIBRATE_EXAMPLES, CalibrateArgs, EVALUATE_EXAMPLES, EvaluateArgs, FIT_EXAMPLES, FitArgs,
};
use crate::metrics::MetricsFlags;
use crate::models::args::{MODELS_EXAMPLES, ModelsArgs};
use crate::plan::args::{PLAN_EXAMPLES, PlanArgs, PlanningFlags};
use crate::rescore::flags::{self, RescoreArgs};
use crate::scorers::ScorerChoice;
use crate::work::args::{WORK_EXAMPLES, WorkArgs};

const EXAMPLES: &str = "\
Examples:
  deepsweep run photos --out results
  deepsweep run photos --out results --scorer none                        faces only
  deepsweep run s3://archive/2026/ --out s3://results/faces --scorer ./my-probe
  deepsweep run jobs/demo.toml --min-face-px 20
  deepsweep run s3://archive/ --out s3://results --run-id 2026-11-25T02:00:00Z      repeated, it goes on where it ended
  deepsweep run s3://archive/ --out results --scorer none --suffix .jpg --modified-after 2026-11-01 --explain

Exit codes: 0 done · 2 usage or configuration · 3 input or rights · 10 finished, but too many objects could not
be read · 75 try again (throttled, or stopped by a signal)";

/// Sweeps an archive of images and videos for faces and deepfakes, and writes what it finds to Parquet.
#[derive(Debug, Parser)]
#[command(name = "deepsweep", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plan, work and finish in one go on this machine; repeated with the same --run-id it goes on where it ended
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// List, cut into slices and deal out to shards: the plan that workers share
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(Box<PlanArgs>),
    /// Do the slices of a plan, or of some of its shards, that are not done yet
    #[command(after_help = WORK_EXAMPLES)]
    Work(Box<WorkArgs>),
    /// Check that every slice of a plan is done, and say so in SUCCESS.json; exit code 3 with the list where some are not
    Finish(Box<FinishArgs>),
    /// Score the stored embeddings of finished runs with other heads; no media is fetched or decoded
    #[command(after_help = flags::EXAMPLES)]
    Rescore(Box<RescoreArgs>),
    /// Fit a head to labelled results: a scorer of your own
    #[command(after_help = FIT_EXAMPLES)]
    Fit(Box<FitArgs>),
    /// Calibrate a scorer to labelled results: what share of such faces is fake, and from which score on
    #[command(after_help = CALIBRATE_EXAMPLES)]
    Calibrate(Box<CalibrateArgs>),
    /// Tell how well a run's scores part fakes from real ones, by labels
    #[command(after_help = EVALUATE_EXAMPLES)]
    Evaluate(Box<EvaluateArgs>),
    /// List, pull, check and import the models that scorers are made of
    #[command(after_help = MODELS_EXAMPLES)]
    Models(ModelsArgs),
    /// Print the columns of the result tables as Markdown
    Schema,
    /// Print the formats that are decoded as Markdown
    Formats,
    /// Try everything that a run needs: device, ffmpeg, its containment, scratch space, models, SOURCE and DEST; exit code 3
    /// where something is missing
    Doctor(Box<DoctorArgs>),
    /// Give up every right that a decoder needs not, and become it
    #[command(hide = true)]
    Contain(ContainArgs),
}

/// Where models are kept and come from.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreFlags {
    /// Where models are kept: a folder or s3://BUCKET/PREFIX [default: DEEPSWEEP_MODELS, or ~/.cache/deepsweep/models]
    #[arg(long, value_name = "DEST", help_heading = "Models")]
    pub models: Option<String>,
    /// A registry of your own, in place of the built-in one [default: DEEPSWEEP_REGISTRY]
    #[arg(long, value_name = "FILE", help_heading = "Models")]
    pub registry: Option<PathBuf>,
    /// Pull nothing from the internet (HF_HUB_OFFLINE=1); a bucket that --models names is still read
    #[arg(long, help_heading = "Models")]
    pub offline: bool,
}

/// How to reach S3.
#[derive(Debug, Clone, Default, Args)]
pub struct S3Flags {
    /// An S3-compatible server [default: AWS_ENDPOINT_URL, or Amazon S3]
    #[arg(long, value_name = "URL", help_heading = "S3")]
    pub endpoint_url: Option<String>,
    /// [default: AWS_REGION, or the profile's]
    #[arg(long, help_heading = "S3")]
    pub region: Option<String>,
    /// Bucket in the path, not in the host name: true or false [default: true with an endpoint of your own]
    #[arg(long, value_name = "BOOL", help_heading = "S3")]
    pub path_style: Option<bool>,
    /// Unsigned requests, for public buckets
    #[arg(long, help_heading = "S3")]
    pub anonymous: bool,
    /// For servers without If-None-Match: look first, then write
    #[arg(long, help_heading = "S3")]
    pub unconditional_writes: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// s3://BUCKET/PREFIX, a folder or a file; the manifest.json of an S3 Inventory, or a list of objects (*.txt, *.csv, *.tsv,
    /// *.parquet); or a job file (*.toml)
    pub source: Option<String>,
    #[command(flatten)]
    pub flags: Flags,
    /// Print every setting, its value and where it came from, and stop
    #[arg(long)]
    pub explain: bool,
}

/// What flags and job files can say; empty where they do not.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Where the tables go: s3://BUCKET/PREFIX or a folder
    #[arg(long, short, value_name = "DEST")]
    pub out: Option<String>,
    /// A name of `deepsweep models list`, a scorer folder, `none` (detections only) or `untrained-demo` (random weights,
    /// to try the way through); with +bf16 behind it, its tower in bfloat16; may be repeated: each scorer has rows of its
    /// own [default: clip-b32]
    #[arg(long, value_name = "NAME|FOLDER")]
    pub scorer: Vec<ScorerChoice>,
    /// Take scorers whose licence forbids commercial use: you have read it
    #[arg(long)]
    pub accept_licence: bool,
    /// The face detector [default: mtcnn]
    #[arg(long)]
    pub detector: Option<DetectorChoice>,
    /// Shorter side of the smallest face looked for, in pixels [default: 40]
    #[arg(long, value_name = "PX", allow_negative_numbers = true)]
    pub min_face_px: Option<f32>,
    /// Leave the embeddings table out
    #[arg(long)]
    pub no_embeddings: bool,

    #[command(flatten)]
    pub sampling: SamplingFlags,
    /// Look at animated GIF and WebP as at videos; without, their first frame counts
    #[arg(long, help_heading = "Video")]
    pub animated: bool,
    /// Decode pictures that are damaged or cut as far as they go; without, each is rejected as corrupt
    #[arg(long, help_heading = "Resources and limits")]
    pub salvage: bool,
    /// Media of which more frames are wanted are rejected as too_large [default: 10000]
    #[arg(long, value_name = "N", help_heading = "Video", allow_negative_numbers = true)]
    pub max_frames: Option<u32>,
    /// Decode no videos: each has its row, as unsupported
    #[arg(long, help_heading = "Video")]
    pub no_video: bool,
    /// The longest that one decoder may work, such as 30m [default: 30m]
    #[arg(long, value_name = "TIME", help_heading = "Video", allow_hyphen_values = true)]
    pub video_timeout: Option<humantime::Duration>,

    /// Only keys with this ending, whatever its case; may be repeated
    #[arg(long, value_name = "SUFFIX", help_heading = "Which objects")]
    pub suffix: Vec<String>,
    /// Only keys that match this glob (`*` crosses `/`); may be repeated
    #[arg(long, value_name = "GLOB", help_heading = "Which objects")]
    pub include: Vec<String>,
    /// No keys that match this glob; may be repeated
    #[arg(long, value_name = "GLOB", help_heading = "Which objects")]
    pub exclude: Vec<String>,
    /// Only objects of at least this size
    #[arg(long, value_name = "SIZE", help_heading = "Which objects")]
    pub min_size: Option<ByteSize>,
    /// Only objects of at most this size
    #[arg(long, value_name = "SIZE", help_heading = "Which objects")]
    pub max_size: Option<ByteSize>,
    /// Only objects written at or after this day (UTC) or RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Which objects")]
    pub modified_after: Option<DateTime<Utc>>,
    /// Only objects written before this day (UTC) or RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Which objects")]
    pub modified_before: Option<DateTime<Utc>>,

    #[command(flatten)]
    pub planning: PlanningFlags,

    /// Pictures above this size are rejected as too_large; videos are bounded by --scratch-size [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources and limits")]
    pub max_object_size: Option<ByteSize>,
    /// Pictures with more pixels are rejected as too_large [default: 110000000]
    #[arg(long, value_name = "N", help_heading = "Resources and limits", allow_negative_numbers = true)]
    pub max_pixels: Option<u64>,
    /// Share of objects that rights or the network may keep from being read; broken files do not count [default: 0.1]
    #[arg(long, value_name = "SHARE", help_heading = "Resources and limits", allow_negative_numbers = true)]
    pub max_failed: Option<f64>,

    /// Name of the run [default: the time, and four random digits]
    #[arg(long, value_name = "ID", help_heading = "The run")]
    pub run_id: Option<String>,
    /// Day of the run, for dt= in the tables' paths [default: the day that --run-id begins with, or today, UTC]
    #[arg(long, value_name = "YYYY-MM-DD", help_heading = "The run")]
    pub dt: Option<NaiveDate>,

    #[command(flatten)]
    pub machine: MachineFlags,
}

/// What a process may use of its machine, what it tells of itself, and how it reaches models and stores. Two workers of one run
/// may differ in it: of what rows say it decides only what is too large for the machine, and parts say under which limits.
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
    /// Where videos lie that are too large for memory, and plans while they are made [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "FOLDER", help_heading = "Resources and limits")]
    pub scratch: Option<PathBuf>,
    /// What videos may take there; a larger one is rejected as too_large [default: 16GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Resources and limits")]
    pub scratch_size: Option<ByteSize>,
    /// The ffmpeg that decodes; ffprobe stands beside it [default: ffmpeg of PATH]
    #[arg(long, value_name = "FILE", help_heading = "Resources and limits")]
    pub ffmpeg: Option<PathBuf>,

    #[command(flatten)]
    pub log: LogFlags,
    #[command(flatten)]
    pub metrics: MetricsFlags,
    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}

/// What a person is told.
#[derive(Debug, Clone, Default, Args)]
pub struct LogFlags {
    /// How log lines look [default: text]
    #[arg(long, help_heading = "Messages")]
    pub log: Option<LogFormat>,
    /// No progress, no tables, no lists; warnings and errors only
    #[arg(long, help_heading = "Messages")]
    pub quiet: bool,
}

/// Which frames of a video are looked at: one of these.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct SamplingFlags {
    /// So many of each video, evenly spread over its time [default: 32]
    #[arg(long, value_name = "N", help_heading = "Video", allow_negative_numbers = true)]
    pub frames: Option<u32>,
    /// One in each such time, such as 1s or 500ms, from the first frame on
    #[arg(long, value_name = "TIME", help_heading = "Video", allow_hyphen_values = true)]
    pub every: Option<humantime::Duration>,
    /// Those that the file marks as decodable alone
    #[arg(long, help_heading = "Video")]
    pub keyframes: bool,
    /// All of them
    #[arg(long, help_heading = "Video")]
    pub all_frames: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DetectorChoice {
    Mtcnn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Parsed alone from the lines of a job file: the same flags, without SOURCE's place.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
pub struct JobFlags {
    #[arg(long)]
    pub source: Option<String>,
    #[command(flatten)]
    pub flags: Flags,
}

impl RunArgs {
    /// The job file, if that is what SOURCE names.
    #[must_use]
    pub fn job_file(&self) -> Option<PathBuf> {
        let source = self.source.as_ref()?;
        let is_toml = source.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("toml"));
        (is_toml && !source.starts_with("s3://")).then(|| PathBuf::from(source))
    }
}

fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|_| format!("expected YYYY-MM-DD or an RFC 3339 time, found {text:?}"))
}
