//! Flags → run → exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use chrono::Utc;
use clap::Parser;
use deepsweep::cli::{Cli, Command, LogFlags, LogFormat, MachineFlags, RunArgs};
use deepsweep::device::DeviceChoice;
use deepsweep::error::Error;
use deepsweep::ffmpeg::{FfmpegChoice, contain};
use deepsweep::finish::args::FinishArgs;
use deepsweep::media::formats;
use deepsweep::metrics::{Metrics, MetricsSettings, RunIdentity};
use deepsweep::models::args::ModelsArgs;
use deepsweep::plan::args::PlanArgs;
use deepsweep::plan::command::Asked;
use deepsweep::plan::make::Shards;
use deepsweep::progress::Display;
use deepsweep::rescore::flags::RescoreArgs;
use deepsweep::rescore::settings::RescoreSettings;
use deepsweep::scorers::store::{ModelStore, StoreChoice, StoreSettings};
use deepsweep::scorers::{DEFAULT_SCORER, ScorerChoice};
use deepsweep::settings::{Settings, Surroundings};
use deepsweep::storage::s3::S3Options;
use deepsweep::work::args::WorkArgs;
use deepsweep::{doctor, finish, labelled, limits, logging, models, plan, rescore, run, shard, tables, work};
use tikv_jemallocator::Jemalloc;
use tokio_util::sync::CancellationToken;

/// Set up by `.cargo/config.toml`, which also says why.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run_command(&args),
        Command::Plan(args) => plan_command(&args),
        Command::Work(args) => worker_command(&args),
        Command::Finish(args) => finish_command(&args),
        Command::Rescore(args) => rescore_command(&args),
        Command::Fit(args) => labelled_command(&labelled::Task::Fit(*args)),
        Command::Calibrate(args) => labelled_command(&labelled::Task::Calibrate(*args)),
        Command::Evaluate(args) => labelled_command(&labelled::Task::Evaluate(*args)),
        Command::Models(args) => models_command(&args),
        Command::Doctor(args) => doctor_command(&args).map_err(|error| (error, LogFormat::Text)),
        Command::Contain(args) => return contain::enter(&args),
        Command::Schema => print(&tables::markdown()).map_err(|error| (error, LogFormat::Text)),
        Command::Formats => print(&formats::markdown()).map_err(|error| (error, LogFormat::Text)),
    };
    let Err((error, log)) = outcome else { return ExitCode::SUCCESS };
    tell(&error, log);
    ExitCode::from(error.exit_code())
}

fn tell(error: &Error, log: LogFormat) {
    match log {
        // Whoever reads the log reads lines of one kind, to the last.
        LogFormat::Json => tracing::error!(exit_code = error.exit_code(), "{error}"),
        LogFormat::Text => {
            let _ = writeln!(std::io::stderr(), "deepsweep: {error}");
        }
    }
}

/// An error comes with the way in which it is to be told: until logging has started that is text.
fn run_command(args: &RunArgs) -> Result<(), (Error, LogFormat)> {
    let in_text = |error| (error, LogFormat::Text);
    let settings = Settings::resolve(args, &surroundings()).map_err(in_text)?;
    if args.explain {
        return print(&settings.explain()).map_err(in_text);
    }
    let display = start_display(settings.log, settings.quiet);
    sweep(&settings, &display).map_err(|error| (error, settings.log))
}

fn plan_command(args: &PlanArgs) -> Result<(), (Error, LogFormat)> {
    let in_text = |error| (error, LogFormat::Text);
    let settings = Settings::resolve(&args.run, &surroundings()).map_err(in_text)?;
    if args.run.explain {
        return print(&settings.explain()).map_err(in_text);
    }
    let display = start_display(settings.log, settings.quiet);
    let store = || StoreSettings::resolve(&settings.models, settings.s3.clone(), &variable).map(ModelStore::new);
    let asked = Asked { shards: args.shards.map_or(Shards::ByWork, Shards::Exactly), dry_run: args.dry_run };
    let identity = RunIdentity { command: "plan", run_id: settings.run_id.clone(), shard: None };
    let planned = watched(&settings.metrics, identity, &display, &settings.s3, |metrics| {
        let planning = async |shutdown: CancellationToken| {
            plan::command::plan(&settings, asked, &store, &display, metrics, &shutdown).await
        };
        let table = until_signal(planning)?;
        if settings.quiet { Ok(()) } else { close(&settings.metrics, &table) }
    });
    planned.map_err(|error| (error, settings.log))
}

fn worker_command(args: &WorkArgs) -> Result<(), (Error, LogFormat)> {
    let MachineFlags { log: LogFlags { log, quiet }, metrics, store, s3, .. } = &args.machine;
    let log = log.unwrap_or(LogFormat::Text);
    let in_text = |what| (Error::Usage(what), LogFormat::Text);
    let told = if args.shard.is_some() { None } else { shard::Told::by(variable).map_err(in_text)? };
    let settings = MetricsSettings::of(metrics).map_err(in_text)?;
    let display = start_display(log, *quiet);
    let choice = StoreChoice { models: store.models.clone(), offline: store.offline };
    let s3 = models::s3_options(s3);
    let store = || StoreSettings::resolve(&choice, s3.clone(), &variable).map(ModelStore::new);
    let shard = args.shard.map(|shard| shard.to_string()).or_else(|| told.map(|told| told.index.to_string()));
    let identity = RunIdentity { command: "work", run_id: args.run.run_id.clone(), shard };
    let worked = watched(&settings, identity, &display, &s3, |metrics| {
        let surroundings = surroundings();
        let around =
            work::Around { told, surroundings: &surroundings, s3: &s3, models: &store, display: &display, metrics };
        let working = async |shutdown: CancellationToken| work::command(args, around, shutdown).await;
        let table = until_signal(working)?;
        if *quiet { Ok(()) } else { close(&settings, &table) }
    });
    worked.map_err(|error| (error, log))
}

fn finish_command(args: &FinishArgs) -> Result<(), (Error, LogFormat)> {
    let log = args.log.log.unwrap_or(LogFormat::Text);
    start_display(log, args.log.quiet);
    let finished = until_signal(async |shutdown| {
        deepsweep::shutdown::unless_stopped(&shutdown, finish::command(args, &std::env::temp_dir())).await
    });
    let told = finished.and_then(|(summary, max_failed_share)| {
        if !args.log.quiet {
            print(&summary.table(&args.run.out))?;
        }
        summary.check(max_failed_share)
    });
    told.map_err(|error| (error, log))
}

fn rescore_command(args: &RescoreArgs) -> Result<(), (Error, LogFormat)> {
    keep_freed_memory();
    let settings = RescoreSettings::resolve(args, &surroundings()).map_err(|error| (error, LogFormat::Text))?;
    let display = start_display(settings.log, settings.quiet);
    let identity = RunIdentity {
        command: "rescore",
        run_id: settings.run_id.clone(),
        shard: (settings.shard.count > 1).then(|| settings.shard.to_string()),
    };
    let store = || StoreSettings::resolve(&settings.models, settings.s3.clone(), &variable).map(ModelStore::new);
    let scored = watched(&settings.metrics, identity, &display, &settings.s3, |metrics| {
        let summary =
            until_signal(async |shutdown| rescore::rescore(&settings, &store, &display, metrics, shutdown).await)?;
        if settings.quiet { Ok(()) } else { close(&settings.metrics, &summary.table(&settings.out.to_string())) }
    });
    scored.map_err(|error| (error, settings.log))
}

fn surroundings() -> Surroundings {
    Surroundings {
        now: Utc::now(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        registry: variable("DEEPSWEEP_REGISTRY"),
        search_path: variable("PATH").unwrap_or_default(),
        own_exe: own_exe(),
        temporary: std::env::temp_dir(),
        random: random_digits(),
    }
}

fn models_command(args: &ModelsArgs) -> Result<(), (Error, LogFormat)> {
    let flags = args.command.flags();
    let log = flags.log.log.unwrap_or(LogFormat::Text);
    let display = start_display(log, flags.log.quiet);
    let done = runtime().and_then(|runtime| {
        // What is printed must not run into the bar.
        let print = |text: &str| display.beside(|| print(text));
        let around = models::Around { variable: &variable, display: &display, print: &print };
        let done = runtime.block_on(async {
            let shutdown = CancellationToken::new();
            stop_on_signals(shutdown.clone())?;
            tokio::select! {
                done = models::run(&args.command, &around) => done,
                () = shutdown.cancelled() => Err(Error::TryAgain(
                    "stopped by a signal; what was pulled is kept, and the next pull goes on from there".to_owned(),
                )),
            }
        });
        runtime.shutdown_background();
        done
    });
    display.clear();
    done.map_err(|error| (error, log))
}

fn labelled_command(task: &labelled::Task) -> Result<(), (Error, LogFormat)> {
    let flags = task.flags();
    let log = flags.log.log.unwrap_or(LogFormat::Text);
    let display = start_display(log, flags.log.quiet);
    let around = labelled::Surroundings { variable: &variable, display: &display, scratch: std::env::temp_dir() };
    let done = runtime().and_then(|runtime| {
        let report = runtime.block_on(async {
            let shutdown = CancellationToken::new();
            stop_on_signals(shutdown.clone())?;
            // Minutes of computing hear no token. Nothing is written before its end, so nothing is left half done.
            tokio::spawn(async move {
                shutdown.cancelled().await;
                let error = Error::TryAgain("stopped by a signal; nothing was written".to_owned());
                tell(&error, log);
                std::process::exit(error.exit_code().into());
            });
            labelled::run(task, &around).await
        });
        runtime.shutdown_background();
        report
    });
    display.clear();
    done.and_then(|report| print(&report)).map_err(|error| (error, log))
}

fn doctor_command(args: &doctor::DoctorArgs) -> Result<(), Error> {
    // A doctor tells what is; a run waits for better times.
    let patience = std::time::Duration::from_secs(limits::DOCTOR_PATIENCE_SECS);
    let s3 = S3Options { max_attempts: 3, throttle_patience: patience, ..models::s3_options(&args.s3) };
    let patient = doctor::Patient {
        device: args.device.unwrap_or(DeviceChoice::Auto),
        ffmpeg: FfmpegChoice {
            named: args.ffmpeg.clone(),
            search_path: variable("PATH").unwrap_or_default(),
            own_exe: own_exe(),
            children: 1,
            timeout: std::time::Duration::from_secs(limits::VIDEO_TIMEOUT_SECS),
        },
        scratch: args.scratch.clone().unwrap_or_else(std::env::temp_dir),
        scratch_bytes: args.scratch_size.map_or(limits::SCRATCH_BYTES, |size| size.as_u64()),
        scorers: doctor::Scorers {
            choices: match args.scorers.is_empty() {
                true => vec![ScorerChoice::Named(DEFAULT_SCORER.to_owned())],
                false => args.scorers.clone(),
            },
            registry: models::open_registry(&args.store, &variable),
            store: StoreSettings::resolve(&models::store_choice(&args.store), s3.clone(), &variable)
                .map(ModelStore::new),
        },
        places: doctor::Places { source: args.source.clone(), out: args.out.clone(), s3 },
    };
    let findings = runtime()?.block_on(doctor::examine(&patient));
    print(&if args.json { doctor::json(&findings) } else { doctor::table(&findings) })?;
    doctor::check(&findings)
}

/// The allocator gives memory back at once, which keeps a run flat (`.cargo/config.toml`). Scoring again fills the same few
/// buffers thousands of times, and takes a third less time where they stay for a second. The allocator is told so by a
/// variable that it reads when the program starts, so the program starts once more, in the same process.
fn keep_freed_memory() {
    use std::os::unix::process::CommandExt;
    const CONFIGURATION: &str = "_RJEM_MALLOC_CONF";
    let mut arguments = std::env::args_os();
    let (name, None) = (arguments.next(), variable(CONFIGURATION)) else { return };
    let mut again = std::process::Command::new(own_exe());
    again.arg0(name.unwrap_or_else(|| "deepsweep".into())).args(arguments).env(CONFIGURATION, "dirty_decay_ms:1000");
    // It comes back only where the program cannot be started, and then it goes on as it is.
    let error = again.exec();
    tracing::debug!("memory goes back at once: {error}");
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn start_display(log: LogFormat, quiet: bool) -> Display {
    let display = match (quiet, log) {
        (true, _) => Display::None,
        (false, LogFormat::Text) if std::io::stderr().is_terminal() => Display::bar(),
        _ => Display::Lines(log),
    };
    logging::start(log, quiet, &display);
    display
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2) // I/O only: computing has its own pool
        .enable_all()
        .build()
        .map_err(|e| Error::Input(format!("no async runtime: {e}")))
}

fn sweep(settings: &Settings, display: &Display) -> Result<(), Error> {
    let identity = RunIdentity { command: "run", run_id: settings.run_id.clone(), shard: None };
    let store = || StoreSettings::resolve(&settings.models, settings.s3.clone(), &variable).map(ModelStore::new);
    watched(&settings.metrics, identity, display, &settings.s3, |metrics| {
        let summary = until_signal(async |shutdown| run::run(settings, &store, display, metrics, shutdown).await)?;
        if !settings.quiet {
            close(&settings.metrics, &summary.table(&settings.out.to_string()))?;
        }
        summary.check(settings.max_failed_share)
    })
}

/// Works under metrics, which learn of every end that it may have.
fn watched(
    settings: &MetricsSettings,
    identity: RunIdentity,
    display: &Display,
    s3: &S3Options,
    work: impl FnOnce(&Metrics) -> Result<(), Error>,
) -> Result<(), Error> {
    let metrics = Metrics::open(settings, identity, display, &s3.throttles)?;
    let outcome = work(&metrics);
    metrics.end(&outcome);
    outcome
}

/// The closing table, beside what else stands on standard output.
fn close(metrics: &MetricsSettings, table: &str) -> Result<(), Error> {
    if !metrics.emf {
        return print(table);
    }
    let _ = std::io::stderr().write_all(table.as_bytes());
    Ok(())
}

/// Runs what hears of a signal by its token.
fn until_signal<T>(work: impl AsyncFnOnce(CancellationToken) -> Result<T, Error>) -> Result<T, Error> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())?;
        work(shutdown).await
    });
    // Blocking reads of a slow disk must not hold up the exit after a signal.
    runtime.shutdown_background();
    done
}

/// The first SIGINT or SIGTERM asks to stop, the second ends the process at once.
fn stop_on_signals(shutdown: CancellationToken) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e: std::io::Error| Error::Input(format!("no signal handler: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if again {
                std::process::exit(75); // EX_TEMPFAIL, as after the first
            }
            tracing::warn!("stopping; a second signal ends at once");
            shutdown.cancel();
        }
    });
    Ok(())
}

/// On Linux by a name that stays the same file even after a new version took its place.
fn own_exe() -> std::path::PathBuf {
    if cfg!(target_os = "linux") {
        return "/proc/self/exe".into();
    }
    std::env::current_exe().unwrap_or_else(|_| "deepsweep".into())
}

/// Different from run to run; no secret.
fn random_digits() -> u16 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() as u16
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Input(format!("standard output: {e}"))),
        _ => Ok(()),
    }
}
