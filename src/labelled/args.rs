//! The command lines of `fit`, `calibrate` and `evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::matching::Match;
use crate::cli::{LogFlags, S3Flags, StoreFlags};
use crate::scorers::{ScorerChoice, Tap};

pub const FIT_EXAMPLES: &str = "\
Examples:
  deepsweep fit results/_runs/nightly --labels labels.csv --out my-probe
  deepsweep fit results/_runs/a results/_runs/b --labels labels.parquet --split train --out my-probe --json
  deepsweep fit s3://results/_runs/a --labels labels.csv --match suffix --base ./my-tower --out my-probe

labels.csv has the columns key (or media_id) and label (real or fake), and if you like split and group. Media of one
group are never held against each other: give people or source videos a group.";

pub const CALIBRATE_EXAMPLES: &str = "\
Examples:
  deepsweep calibrate results/_runs/nightly --labels labels.csv --scorer my-probe --out my-probe-calibrated
  deepsweep calibrate results/_runs/nightly --labels labels.csv --split calibrate --scorer clip-b32 --out calibrated --wanted-fpr 0.001

Take media that the scorer was not fitted with, as like as can be to those that it will meet.";

pub const EVALUATE_EXAMPLES: &str = "\
Examples:
  deepsweep evaluate results/_runs/nightly --labels labels.csv
  deepsweep evaluate results/_runs/nightly --labels labels.csv --split test --json";

/// What is labelled, and what is known of it.
#[derive(Debug, Clone, Args)]
pub struct LabelledFlags {
    /// Finished runs: DEST/_runs/RUN_ID, in a folder or s3://
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
    /// CSV or Parquet: key or media_id, label, and if you like split and group
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// How keys name media: whole, or by their end from a / on
    #[arg(long = "match", value_enum, default_value_t = MatchChoice::Exact, value_name = "HOW")]
    pub matching: MatchChoice,
    /// Only labels of this split [default: all, whatever their split]
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Labels that may name no media, as a share of all [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    pub max_unknown: Option<f64>,
    /// The report as JSON
    #[arg(long)]
    pub json: bool,
    /// Compute threads [default: the cores that this process may use]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Where large parts of a bucket lie while they are read [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
    #[command(flatten)]
    pub log: LogFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MatchChoice {
    Exact,
    Suffix,
}

impl From<MatchChoice> for Match {
    fn from(choice: MatchChoice) -> Self {
        match choice {
            MatchChoice::Exact => Self::Exact,
            MatchChoice::Suffix => Self::Suffix,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct FitArgs {
    #[command(flatten)]
    pub labelled: LabelledFlags,
    /// The scorer folder to write
    #[arg(long, short, value_name = "FOLDER")]
    pub out: PathBuf,
    /// The scorer whose tower and crops the embeddings are of [default: that of the runs, where it has a name]
    #[arg(long, value_name = "NAME|FOLDER")]
    pub base: Option<ScorerChoice>,
    /// Name of the new scorer [default: that of the folder]
    #[arg(long)]
    pub name: Option<String>,
    #[arg(long, default_value = "1")]
    pub version: String,
    /// The licence of the new head
    #[arg(long, default_value = "not stated", value_name = "WORDS")]
    pub licence: String,
    /// Which of the tower's outputs the head sees
    #[arg(long, value_enum, default_value_t = TapChoice::Pooled)]
    pub tap: TapChoice,
    /// Leave vectors as long as they are; otherwise each is brought to unit length
    #[arg(long)]
    pub no_l2: bool,
    /// Inverse strength of the regularisation [default: the best of 0.001 to 1000000 by cross-validation]
    #[arg(long, value_name = "C")]
    pub c: Option<f64>,
    /// Let each class count by its faces, not both alike
    #[arg(long)]
    pub unbalanced: bool,
    /// Folds of the cross-validation, each with groups of its own
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=100))]
    pub folds: u16,
    /// Take scorers whose licence forbids commercial use: you have read it
    #[arg(long)]
    pub accept_licence: bool,
    #[command(flatten)]
    pub store: StoreFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TapChoice {
    Pooled,
    Projected,
}

impl From<TapChoice> for Tap {
    fn from(choice: TapChoice) -> Self {
        match choice {
            TapChoice::Pooled => Self::Pooled,
            TapChoice::Projected => Self::Projected,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    pub labelled: LabelledFlags,
    /// The scorer to calibrate; the runs need not have been scored with it
    #[arg(long, value_name = "NAME|FOLDER")]
    pub scorer: ScorerChoice,
    /// The scorer folder to write: the same scorer under a new version
    #[arg(long, short, value_name = "FOLDER")]
    pub out: PathBuf,
    /// The share of real faces that may lie above the threshold
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    pub wanted_fpr: f64,
    /// The curve [default: the one with the lower log loss on held-out groups]
    #[arg(long, value_enum)]
    pub curve: Option<CurveChoice>,
    /// Take scorers whose licence forbids commercial use: you have read it
    #[arg(long)]
    pub accept_licence: bool,
    #[command(flatten)]
    pub store: StoreFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CurveChoice {
    Platt,
    Isotonic,
}

#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub labelled: LabelledFlags,
}
