//! default < job file < flag, resolved once, printed by `--explain`, stored with the run.

mod metrics;
mod planning;
mod ranges;
mod resolver;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use clap::Parser;

use self::resolver::{Resolver, name_of};
use crate::cli::{DetectorChoice, Flags, JobFlags, LogFormat, RunArgs, SamplingFlags};
use crate::device::DeviceChoice;
use crate::error::{Error, RejectionClass};
use crate::ffmpeg::FfmpegChoice;
use crate::job;
use crate::limits;
use crate::media::sample::Sampling;
use crate::media::still::Damage;
use crate::metrics::MetricsSettings;
use crate::metrics::settings::name_of_job;
use crate::pipeline::list::{Filter, globs};
use crate::scorers::store::StoreChoice;
use crate::scorers::{DEFAULT_SCORER, ScorerChoice, names};
use crate::storage::Location;
use crate::storage::s3::S3Options;

pub(crate) use self::ranges::{at_least, check_run_id, in_range};

/// A run's settings, each of them in range.
#[derive(Debug, Clone)]
pub struct Settings {
    pub source: Location,
    pub out: Location,
    /// Empty: detections only.
    pub scorers: Vec<ScorerChoice>,
    pub accept_licence: bool,
    /// None: the built-in one.
    pub registry: Option<PathBuf>,
    pub models: StoreChoice,
    pub min_face_px: f32,
    pub keep_embeddings: bool,
    pub sampling: Sampling,
    /// Whether animated pictures are sampled as videos are.
    pub animated: bool,
    /// What becomes of pictures that are damaged or end early.
    pub damage: Damage,
    pub max_frames: u32,
    /// Whether videos are decoded.
    pub videos: bool,
    pub ffmpeg: FfmpegChoice,
    pub scratch: PathBuf,
    pub scratch_bytes: u64,
    pub filter: Filter,
    /// Whether what earlier runs finished is swept again.
    pub include_finished: bool,
    /// Some: only what earlier runs rejected for one of these reasons.
    pub retry_failed: Option<BTreeSet<RejectionClass>>,
    pub device: DeviceChoice,
    pub threads: usize,
    pub memory_bytes: u64,
    pub max_object_bytes: u64,
    pub max_pixels: u64,
    pub max_failed_share: f64,
    pub run_id: String,
    pub dt: NaiveDate,
    /// Whether somebody said so, rather than the run's name or the clock.
    pub dt_is_given: bool,
    pub log: LogFormat,
    pub quiet: bool,
    pub metrics: MetricsSettings,
    pub s3: S3Options,
    pub explained: Vec<Explained>,
    /// Those that decide what the rows are, as the flags that say so.
    pub arguments: Vec<String>,
}

/// One line of `--explain`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explained {
    pub name: &'static str,
    pub value: String,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Flag,
    JobFile,
    Default,
}

impl Origin {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::JobFile => "job file",
            Self::Default => "default",
        }
    }
}

/// What a default depends on beside the code.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub now: DateTime<Utc>,
    /// Cores that this process may use.
    pub cores: usize,
    /// `DEEPSWEEP_REGISTRY`.
    pub registry: Option<String>,
    /// `PATH`.
    pub search_path: String,
    /// This program's file.
    pub own_exe: PathBuf,
    /// Where the system keeps what is temporary.
    pub temporary: PathBuf,
    /// Four random digits that keep two runs of one second apart.
    pub random: u16,
}

impl Settings {
    /// # Errors
    /// A job file that is wrong, a setting that is missing or out of range.
    pub fn resolve(args: &RunArgs, surroundings: &Surroundings) -> Result<Self, Error> {
        let job = args.job_file().map(|path| job::read(&path)).transpose()?;
        let has_job = job.is_some();
        let job_name = args.job_file().map(|path| name_of_job(&path));
        let job = job.unwrap_or(JobFlags { source: None, flags: Flags::default() });
        let mut resolver = Resolver::new(job_name);
        let source = if has_job { None } else { args.source.clone() };
        resolver.settings(source, args.flags.clone(), job, surroundings).map_err(Error::Usage)
    }

    /// The settings of a worker: what the plan says, and what `flags` say of the machine.
    ///
    /// # Errors
    /// Arguments that this program does not know, a setting that is out of range.
    pub fn of_plan(arguments: &[String], flags: Flags, surroundings: &Surroundings) -> Result<Self, Error> {
        let planned = JobFlags::try_parse_from(arguments).map_err(|e| {
            Error::Usage(format!("the plan's arguments are none of deepsweep {}: {e}", env!("CARGO_PKG_VERSION")))
        })?;
        Resolver::new(None).settings(None, flags, planned, surroundings).map_err(Error::Usage)
    }

    /// What decides that an object is rejected although nothing is wrong with it: another run under other limits may take it.
    #[must_use]
    pub fn limits(&self) -> String {
        let Self { memory_bytes, scratch_bytes, max_object_bytes, max_pixels, max_frames, .. } = self;
        let video = if self.videos { format!("{} s", self.ffmpeg.timeout.as_secs_f64()) } else { "none".to_owned() };
        format!(
            "memory={memory_bytes} scratch={scratch_bytes} object={max_object_bytes} pixels={max_pixels} frames={max_frames} \
             video={video}"
        )
    }

    /// The lines of `--explain`: name, value, origin.
    #[must_use]
    pub fn explain(&self) -> String {
        let wide = |f: fn(&Explained) -> usize| self.explained.iter().map(f).max().unwrap_or(0);
        let (name, value) = (wide(|e| e.name.len()), wide(|e| e.value.chars().count()));
        self.explained
            .iter()
            .map(|e| format!("{:name$}  {:value$}  {}\n", e.name, e.value, e.origin.as_str()))
            .collect()
    }
}

impl Resolver {
    fn settings(
        &mut self,
        source: Option<String>,
        flags: Flags,
        job: JobFlags,
        surroundings: &Surroundings,
    ) -> Result<Settings, String> {
        let file = job.flags;
        let source = self.required("source", source, job.source, "SOURCE: a folder, a file or s3://BUCKET/PREFIX")?;
        let out = self.required("out", flags.out, file.out, "--out DEST: a folder or s3://BUCKET/PREFIX")?;
        let scorers = self.scorers(flags.scorer, file.scorer)?;
        let accept_licence = self.switch("accept_licence", flags.accept_licence, file.accept_licence);
        let mtcnn = name_of(DetectorChoice::Mtcnn);
        self.pick("detector", flags.detector.map(name_of), file.detector.map(name_of), mtcnn);
        let min_face_px = self.pick("min_face_px", flags.min_face_px, file.min_face_px, 40.0);
        // Below 12 the first level would enlarge the picture; P-Net cannot see a face smaller than its cell.
        in_range("min_face_px", min_face_px, 12.0, 10_000.0)?;
        let no_embeddings = self.switch("no_embeddings", flags.no_embeddings, file.no_embeddings);

        let sampling = self.sampling(&flags.sampling, &file.sampling)?;
        let animated = self.switch("animated", flags.animated, file.animated);
        let salvage = self.switch("salvage", flags.salvage, file.salvage);
        let max_frames = self.pick("max_frames", flags.max_frames, file.max_frames, limits::MAX_FRAMES);
        in_range("max_frames", max_frames, 1, 10_000_000)?;
        let no_video = self.switch("no_video", flags.no_video, file.no_video);
        let path = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        let ffmpeg = self.optional("ffmpeg", path(flags.machine.ffmpeg), path(file.machine.ffmpeg)).map(PathBuf::from);
        let default_timeout = Duration::from_secs(limits::VIDEO_TIMEOUT_SECS).into();
        let timeout = self.pick("video_timeout", flags.video_timeout, file.video_timeout, default_timeout);
        at_least("video_timeout", timeout, Duration::from_secs(1).into())?;
        let temporary = surroundings.temporary.display().to_string();
        let scratch =
            PathBuf::from(self.pick("scratch", path(flags.machine.scratch), path(file.machine.scratch), temporary));
        let default_size = bytesize::ByteSize(limits::SCRATCH_BYTES);
        let scratch_bytes =
            self.pick("scratch_size", flags.machine.scratch_size, file.machine.scratch_size, default_size).as_u64();

        let suffix = self.list("suffix", flags.suffix, file.suffix);
        let include = self.list("include", flags.include, file.include);
        let exclude = self.list("exclude", flags.exclude, file.exclude);
        let min_size = self.optional("min_size", flags.min_size, file.min_size);
        let max_size = self.optional("max_size", flags.max_size, file.max_size);
        let modified_after = self.optional("modified_after", flags.modified_after, file.modified_after);
        let modified_before = self.optional("modified_before", flags.modified_before, file.modified_before);
        if min_size.zip(max_size).is_some_and(|(min, max)| min > max) {
            return Err("min_size: expected at most max_size, found more: no object can be both".to_owned());
        }
        if modified_after.zip(modified_before).is_some_and(|(after, before)| after >= before) {
            return Err("modified_after: expected before modified_before: no object can be both".to_owned());
        }
        // As they are, not as people read them.
        self.plan("min_size", min_size.map(|size| Some(size.as_u64().to_string())));
        self.plan("max_size", max_size.map(|size| Some(size.as_u64().to_string())));
        self.plan("modified_after", modified_after.map(|time| Some(time.to_rfc3339())));
        self.plan("modified_before", modified_before.map(|time| Some(time.to_rfc3339())));
        let (include_finished, retry_failed) = self.planning(flags.planning, file.planning);
        let filter = Filter {
            include: globs(&include, &suffix)?,
            exclude: globs(&exclude, &[])?,
            min_bytes: min_size.map(|size| size.as_u64()),
            max_bytes: max_size.map(|size| size.as_u64()),
            modified_after,
            modified_before,
        };

        let device = self.pick("device", flags.machine.device, file.machine.device, DeviceChoice::Auto);
        let threads = self.pick("threads", flags.machine.threads, file.machine.threads, surroundings.cores);
        in_range("threads", threads, 1, 1024)?;
        let bytes = |bytes: u64| bytesize::ByteSize(bytes);
        let memory = self.pick("memory", flags.machine.memory, file.machine.memory, bytes(limits::MEMORY_BYTES));
        at_least("memory", memory, bytes(limits::MIN_MEMORY_BYTES))?;
        let max_object_bytes = self
            .pick("max_object_size", flags.max_object_size, file.max_object_size, bytes(limits::MAX_OBJECT_BYTES))
            .as_u64();
        self.plan("max_object_size", [Some(max_object_bytes.to_string())]);
        let max_pixels = self.pick("max_pixels", flags.max_pixels, file.max_pixels, limits::MAX_PIXELS);
        at_least("max_pixels", max_pixels, 1)?;
        let max_failed_share = self.pick("max_failed", flags.max_failed, file.max_failed, limits::MAX_FAILED_SHARE);
        in_range("max_failed", max_failed_share, 0.0, 1.0)?;

        let default_id = format!("{}-{:04x}", surroundings.now.format("%Y%m%dT%H%M%SZ"), surroundings.random);
        let run_id = self.pick("run_id", flags.run_id, file.run_id, default_id);
        check_run_id(&run_id)?;
        let dt_is_given = flags.dt.or(file.dt).is_some();
        let day = planning::day_of(&run_id).unwrap_or(surroundings.now.date_naive());
        let dt = self.pick("dt", flags.dt, file.dt, day);
        let log = flags.machine.log.log.or(file.machine.log.log).unwrap_or(LogFormat::Text);
        self.pick(
            "log",
            flags.machine.log.log.map(name_of),
            file.machine.log.log.map(name_of),
            name_of(LogFormat::Text),
        );
        let quiet = self.switch("quiet", flags.machine.log.quiet, file.machine.log.quiet);
        let metrics = self.metrics(flags.machine.metrics, file.machine.metrics)?;
        let (s3_flags, s3_file) = (flags.machine.s3, file.machine.s3);
        let s3 = S3Options {
            endpoint_url: self.optional("endpoint_url", s3_flags.endpoint_url, s3_file.endpoint_url),
            region: self.optional("region", s3_flags.region, s3_file.region),
            path_style: self.optional("path_style", s3_flags.path_style, s3_file.path_style),
            anonymous: self.switch("anonymous", s3_flags.anonymous, s3_file.anonymous),
            conditional_writes: !self.switch(
                "unconditional_writes",
                s3_flags.unconditional_writes,
                s3_file.unconditional_writes,
            ),
            ..S3Options::default()
        };
        let (store_flags, store_file) = (flags.machine.store, file.machine.store);
        let models = self.optional("models", store_flags.models, store_file.models);
        let named = surroundings.registry.clone();
        let registry = self.optional("registry", path(store_flags.registry), path(store_file.registry)).or(named);
        let offline = self.switch("offline", store_flags.offline, store_file.offline);
        let choice = StoreChoice { models, offline };
        Ok(Settings {
            source: source.parse()?,
            out: out.parse()?,
            keep_embeddings: !no_embeddings && !scorers.is_empty(),
            scorers,
            accept_licence,
            registry: registry.map(PathBuf::from),
            models: choice,
            min_face_px,
            sampling,
            animated,
            damage: if salvage { Damage::Salvaged } else { Damage::Refused },
            max_frames,
            videos: !no_video,
            ffmpeg: FfmpegChoice {
                named: ffmpeg,
                search_path: surroundings.search_path.clone(),
                own_exe: surroundings.own_exe.clone(),
                children: threads,
                timeout: timeout.into(),
            },
            scratch,
            scratch_bytes,
            filter,
            include_finished,
            retry_failed,
            device,
            threads,
            memory_bytes: memory.as_u64(),
            max_object_bytes,
            max_pixels,
            max_failed_share,
            run_id,
            dt,
            dt_is_given,
            log,
            quiet,
            metrics,
            s3,
            arguments: self.arguments(),
            explained: std::mem::take(&mut self.explained),
        })
    }

    /// One way of sampling; whatever the command line says of it stands for all that the file says.
    fn sampling(&mut self, flags: &SamplingFlags, file: &SamplingFlags) -> Result<Sampling, String> {
        let said = |flags: &SamplingFlags| match *flags {
            SamplingFlags { frames: Some(count), .. } => Some(Sampling::Frames(count)),
            SamplingFlags { every: Some(time), .. } => Some(Sampling::Every(time.into())),
            SamplingFlags { keyframes: true, .. } => Some(Sampling::Keyframes),
            SamplingFlags { all_frames: true, .. } => Some(Sampling::All),
            SamplingFlags { .. } => None,
        };
        let (sampling, origin) = match (said(flags), said(file)) {
            (Some(sampling), _) => (sampling, Origin::Flag),
            (None, Some(sampling)) => (sampling, Origin::JobFile),
            (None, None) => (Sampling::Frames(limits::FRAMES), Origin::Default),
        };
        let said = sampling.setting();
        let value = Some(said.1.clone()).filter(|_| ["frames", "every"].contains(&said.0));
        self.plan(said.0, [value]);
        for name in ["frames", "every", "keyframes", "all_frames"] {
            self.explain(name, if name == said.0 { &said.1 } else { &"-" }, origin);
        }
        match sampling {
            Sampling::Frames(count) => in_range("frames", count, 1, 1_000_000)?,
            // Nothing is filmed a thousand times a second but by intent.
            Sampling::Every(time) => {
                at_least::<humantime::Duration>("every", time.into(), Duration::from_millis(1).into())?
            }
            Sampling::Keyframes | Sampling::All => {}
        }
        Ok(sampling)
    }

    /// `none` alone stands for an empty list.
    fn scorers(&mut self, flag: Vec<ScorerChoice>, file: Vec<ScorerChoice>) -> Result<Vec<ScorerChoice>, String> {
        let (scorers, origin) = match (flag.is_empty(), file.is_empty()) {
            (false, _) => (flag, Origin::Flag),
            (true, false) => (file, Origin::JobFile),
            (true, true) => (vec![ScorerChoice::Named(DEFAULT_SCORER.to_owned())], Origin::Default),
        };
        self.explain("scorer", &names(&scorers), origin);
        self.plan("scorer", scorers.iter().map(|scorer| Some(planning::from_anywhere(&scorer.to_string()))));
        if scorers.len() > 1 && scorers.contains(&ScorerChoice::None) {
            return Err(format!("scorer: expected none alone, or scorers, found {}", names(&scorers)));
        }
        Ok(scorers.into_iter().filter(|scorer| *scorer != ScorerChoice::None).collect())
    }
}
