//! What a run would find: the device, ffmpeg, what holds ffmpeg in, room for videos, models, SOURCE and DEST.
//!
//! Everything is tried, nothing is assumed: decoders are listed by the ffmpeg that would decode, from inside its
//! containment, and each layer is proved by a child that does what the layer stops. Nothing is left behind but one note at DEST.

mod model;
mod places;

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;

use crate::cli::{S3Flags, StoreFlags};
use crate::device::DeviceChoice;
use crate::error::Error;
use crate::ffmpeg::child::Contained;
use crate::ffmpeg::{Ffmpeg, FfmpegChoice, offer};
use crate::scorers::ScorerChoice;
use crate::storage::Location;

pub use self::model::Scorers;
pub use self::places::Places;

/// The command line. What it leaves open is decided as for a run.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// auto, cpu, cuda or cuda:N [default: auto]
    #[arg(long)]
    pub device: Option<DeviceChoice>,
    /// The ffmpeg that decodes; ffprobe stands beside it [default: ffmpeg of PATH]
    #[arg(long, value_name = "FILE")]
    pub ffmpeg: Option<PathBuf>,
    /// Where videos lie that are too large for memory [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
    /// What they may take there [default: 16GiB]
    #[arg(long, value_name = "SIZE")]
    pub scratch_size: Option<ByteSize>,
    /// Where media lie that a run would sweep: s3://BUCKET/PREFIX, a folder or a file
    #[arg(long)]
    pub source: Option<Location>,
    /// Where a run would write: s3://BUCKET/PREFIX or a folder; one small object is left there, _runs/.doctor
    #[arg(long, value_name = "DEST")]
    pub out: Option<Location>,
    /// As a run names them [default: clip-b32]
    #[arg(long = "scorer", value_name = "NAME|FOLDER", num_args = 1..)]
    pub scorers: Vec<ScorerChoice>,
    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}

/// What is looked at.
#[derive(Debug)]
pub struct Patient {
    pub device: DeviceChoice,
    pub ffmpeg: FfmpegChoice,
    pub scratch: PathBuf,
    pub scratch_bytes: u64,
    pub scorers: Scorers,
    pub places: Places,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// A run works without it, though not as well.
    Warning,
    /// A run, or its videos, cannot do without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub part: &'static str,
    pub name: String,
    pub state: State,
    pub found: String,
    /// What to do about it.
    pub way_out: Option<String>,
}

const INSTALL: &str = "apt install ffmpeg; dnf install ffmpeg-free (H.264 and HEVC: ffmpeg of RPM Fusion); apk add ffmpeg; \
                       brew install ffmpeg";

/// Looks at everything, in the order in which a run needs it.
pub async fn examine(patient: &Patient) -> Vec<Finding> {
    let device = patient.device.open();
    // A device that is not there is a finding of its own.
    let on_cpu = device.as_ref().map_or(true, |(device, _)| device.is_cpu());
    let mut findings = vec![match device {
        Ok((_, name)) => ok("device", name, format!("asked for: {}", patient.device)),
        Err(error) => missing("device", patient.device.to_string(), error.to_string(), "--device cpu"),
    }];
    match Ffmpeg::find(&patient.ffmpeg).await {
        Ok(ffmpeg) => decoder(&ffmpeg, &mut findings).await,
        Err(error) => findings.push(missing("ffmpeg", "ffmpeg", error.to_string(), INSTALL)),
    }
    containment(&patient.ffmpeg.own_exe, &mut findings);
    findings.push(scratch(&patient.scratch, patient.scratch_bytes));
    model::examine(&patient.scorers, on_cpu, &mut findings).await;
    places::examine(&patient.places, &mut findings).await;
    findings
}

/// # Errors
/// Something is missing that a run needs.
pub fn check(findings: &[Finding]) -> Result<(), Error> {
    let missing = findings.iter().filter(|finding| finding.state == State::Missing);
    let names: Vec<&str> = missing.map(|finding| finding.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Input(format!("expected all that a run of images and videos needs, {} is missing", names.join(", "))))
}

/// For a person: a line each, the way out below what is not as it should be.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let wide = |f: fn(&Finding) -> &str| findings.iter().map(|finding| f(finding).chars().count()).max().unwrap_or(0);
    let (part, name) = (wide(|finding| finding.part), wide(|finding| &finding.name));
    let line = |finding: &Finding| {
        let state = match finding.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Missing => "MISSING",
        };
        let Finding { found, way_out, .. } = finding;
        let way_out = way_out.as_ref().map(|way_out| format!("    → {way_out}\n")).unwrap_or_default();
        format!("{:part$}  {:name$}  {state:7}  {found}\n{way_out}", finding.part, finding.name)
    };
    findings.iter().map(line).collect()
}

/// For a program.
#[must_use]
pub fn json(findings: &[Finding]) -> String {
    format!("{:#}\n", serde_json::json!(findings))
}

fn ok(part: &'static str, name: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding { part, name: name.into(), state: State::Ok, found: found.into(), way_out: None }
}

fn warning(part: &'static str, name: impl Into<String>, found: impl Into<String>, way_out: &str) -> Finding {
    Finding { state: State::Warning, way_out: Some(way_out.to_owned()), ..ok(part, name, found) }
}

fn missing(part: &'static str, name: impl Into<String>, found: impl Into<String>, way_out: &str) -> Finding {
    Finding { state: State::Missing, ..warning(part, name, found, way_out) }
}

async fn decoder(ffmpeg: &Ffmpeg, findings: &mut Vec<Finding>) {
    let (major, minor) = offer::OLDEST;
    findings.push(if ffmpeg.is_new_enough() {
        ok("ffmpeg", "version", &ffmpeg.version)
    } else {
        missing("ffmpeg", "version", format!("expected {major}.{minor} or newer, found {}", ffmpeg.version), INSTALL)
    });
    for (name, offered) in [("decoder", ffmpeg.decoders().await), ("demuxer", ffmpeg.demuxers().await)] {
        match offered {
            Ok(offered) => findings.extend(offered.into_iter().map(|(what, has)| match has {
                true => ok(name, what, "offered"),
                false => missing(name, what, "not built in: such files are rejected", INSTALL),
            })),
            Err(rejection) => findings.push(missing("ffmpeg", format!("{name}s"), rejection.message, INSTALL)),
        }
    }
}

fn containment(own_exe: &Path, findings: &mut Vec<Finding>) {
    let way_out = "nothing, where the other layers will do; else a newer kernel, or a container that may do more";
    match Contained::new(own_exe.to_owned()).layers() {
        Ok(layers) => findings.extend(layers.into_iter().map(|layer| match layer.in_force {
            true => ok("layer", layer.layer, format!("{}; stops {}", layer.how, layer.stops)),
            false => warning("layer", layer.layer, format!("{}; would stop {}", layer.how, layer.stops), way_out),
        })),
        Err(error) => findings.push(missing("layer", "contain", error, STARTS_ITSELF)),
    }
}

const STARTS_ITSELF: &str = "let deepsweep start itself again, as it does for every video: mount /proc, by which it finds its \
                             own file, and let it start processes";

/// Writes a file that has no name, and asks how much more would fit.
fn scratch(folder: &Path, wanted: u64) -> Finding {
    let name = folder.display().to_string();
    let written = tempfile::tempfile_in(folder).and_then(|mut file| std::io::Write::write_all(&mut file, b"deepsweep"));
    if let Err(error) = written {
        return missing("scratch", name, format!("cannot be written to: {error}"), "--scratch FOLDER");
    }
    let free = rustix::fs::statvfs(folder).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let (free, wanted) = (ByteSize(free.unwrap_or(0)), ByteSize(wanted));
    if free < wanted {
        let found = format!("{free} free, expected {wanted}");
        return warning("scratch", name, found, "--scratch FOLDER on another disk, or a smaller --scratch-size");
    }
    ok("scratch", name, format!("{free} free"))
}

#[cfg(test)]
mod tests {
    use super::{Path, State, containment};

    #[test]
    fn a_deepsweep_that_cannot_start_itself_says_what_it_found() {
        let mut findings = vec![];
        containment(Path::new("/nonexistent/exe"), &mut findings);
        let [finding] = &findings[..] else { panic!("expected one finding, found {findings:?}") };
        assert_eq!(finding.state, State::Missing);
        assert!(finding.found.contains("/nonexistent/exe could not be started: No such file"), "{finding:?}");
        assert!(finding.way_out.as_ref().unwrap().contains("mount /proc"), "{finding:?}");
    }
}
