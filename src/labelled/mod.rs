//! What people know of the media: which are real and which are fake; and what is learned from it.
//!
//! ```text
//! bytes ──labels──▶ Labels ──split::check_groups, split::choose──▶ Labels ──matching──▶ a label, or none, for each media
//!
//! runs + labels ──known──▶ labelled media ──crops──▶ vectors ──fit──▶ a scorer folder
//!                                                ──▶ logits ──calibrate──▶ the same scorer, calibrated
//!                                         ─────────────────▶ scores ──evaluate──▶ a report
//! ```
//!
//! Groups are checked before rows are chosen by split, since a leak shows only where all splits are. What is left after
//! matching is what is used: [`split::check_classes`] has the last word. Messages name no file, but those of
//! [`labels::read`]. Media are never decoded here, and no run is changed.

pub mod args;
pub mod calibrate;
mod columns;
mod crops;
pub mod evaluate;
pub mod figures;
pub mod fit;
mod from_csv;
mod from_parquet;
pub mod known;
pub mod labels;
pub mod matching;
pub mod split;

use std::path::PathBuf;

use candle_core::Device;

use self::args::{CalibrateArgs, EvaluateArgs, FitArgs, LabelledFlags};
use self::fit::Around;
use crate::cli::StoreFlags;
use crate::error::Error;
use crate::models::s3_options;
use crate::progress::Display;
use crate::results::place::RunPlace;
use crate::results::source::Source;
use crate::scorers::Opening;
use crate::scorers::registry::Registry;
use crate::scorers::store::{ModelStore, StoreChoice, StoreSettings};
use crate::settings::in_range;
use crate::storage::s3::S3Options;

/// One of the commands.
#[derive(Debug)]
pub enum Task {
    Fit(FitArgs),
    Calibrate(CalibrateArgs),
    Evaluate(EvaluateArgs),
}

/// What the commands depend on beside their flags.
pub struct Surroundings<'a> {
    /// Variables of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub display: &'a Display,
    /// Where large parts of a bucket lie while they are read.
    pub scratch: PathBuf,
}

impl Task {
    #[must_use]
    pub fn flags(&self) -> &LabelledFlags {
        match self {
            Self::Fit(args) => &args.labelled,
            Self::Calibrate(args) => &args.labelled,
            Self::Evaluate(args) => &args.labelled,
        }
    }
}

/// The report, as text or as JSON.
///
/// # Errors
/// What stops the command; see [`Error`].
pub async fn run(task: &Task, around: &Surroundings<'_>) -> Result<String, Error> {
    let flags = task.flags();
    if let Some(threads) = flags.threads {
        in_range("threads", threads, 1, 1024).map_err(Error::Usage)?;
        // Only the first call counts, and this is the one command of the process.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let s3 = s3_options(&flags.s3);
    let mut sources = vec![];
    for run in &flags.runs {
        let place: RunPlace = run.parse().map_err(|what| Error::Usage(format!("run: {what}")))?;
        sources.push(Source::open(&place, &s3).await?);
    }
    let scratch = flags.scratch.as_deref().unwrap_or(&around.scratch);
    match task {
        Task::Fit(args) => {
            with_opening(&args.store, args.accept_licence, &s3, around, async |opening| {
                let report = fit::fit(args, &sources, &Around { opening, scratch }).await?;
                Ok(if flags.json { json(&report)? } else { report.text() })
            })
            .await
        }
        Task::Calibrate(args) => {
            with_opening(&args.store, args.accept_licence, &s3, around, async |opening| {
                let report = calibrate::calibrate(args, &sources, &Around { opening, scratch }).await?;
                Ok(if flags.json { json(&report)? } else { report.text() })
            })
            .await
        }
        Task::Evaluate(args) => {
            let report = evaluate::evaluate(args, &sources, scratch).await?;
            Ok(if flags.json { json(&report)? } else { report.text() })
        }
    }
}

/// Heads are fitted and applied on the CPU: there is nothing in it that a GPU would save.
async fn with_opening<T>(
    flags: &StoreFlags,
    accept_licence: bool,
    s3: &S3Options,
    around: &Surroundings<'_>,
    then: impl AsyncFnOnce(Opening<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let named = flags.registry.clone().or_else(|| (around.variable)("DEEPSWEEP_REGISTRY").map(PathBuf::from));
    let registry = Registry::open(named.as_deref())?;
    let choice = StoreChoice { models: flags.models.clone(), offline: flags.offline };
    let settings = StoreSettings::resolve(&choice, s3.clone(), around.variable)?;
    let store = move || Ok(ModelStore::new(settings.clone()));
    let (device, display) = (Device::Cpu, around.display);
    then(Opening { registry: &registry, store: &store, accept_licence, device: &device, pool: None, display }).await
}

fn json(report: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(report)
        .map(|text| text + "\n")
        .map_err(|e| Error::Input(format!("the report cannot be written as JSON: {e}")))
}

/// A message is one line: of a longer text so many characters tell which it is.
const SHOWN_CHARS: usize = 120;

/// In quotes, with what cannot be printed escaped, and cut where it is too long for a message.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The first of `count` things, and how many more there are.
fn some_of(shown: &[String], count: usize) -> String {
    match count - shown.len() {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}
