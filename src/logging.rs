//! Log lines to standard error, above the progress bar where there is one.

use std::io::{self, Write};

use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::cli::LogFormat;
use crate::progress::Display;

/// Starts logging for the process. `RUST_LOG` overrides what is shown: `deepsweep=debug` shows every stage of every object.
pub fn start(format: LogFormat, quiet: bool, display: &Display) {
    // An object that was uploaded in parts may have a checksum that says nothing of the whole. The SDK warns of each.
    let default = match quiet {
        true => "warn,aws_sdk_s3::http_response_checksum=error",
        false => "warn,aws_sdk_s3::http_response_checksum=error,deepsweep=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let bar = match display {
        Display::Bar(bar) => Some(bar.clone()),
        Display::None | Display::Lines(_) => None,
    };
    // Whoever asks for that much wants to know how long each stage took: the end of a span is a line then.
    let is_detailed = filter.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG);
    let spans = if is_detailed { FmtSpan::CLOSE } else { FmtSpan::NONE };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(spans)
        .with_writer(AboveBar(bar))
        .with_target(false);
    // A second call, as in tests, keeps the first subscriber.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
    };
    // A panic of a decoder is caught and becomes a row: it is logged as one line, not as a backtrace.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

#[derive(Clone)]
struct AboveBar(Option<ProgressBar>);

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for AboveBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write_all(line);
        match &self.0 {
            Some(bar) => bar.suspend(write)?,
            None => write()?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
