//! The log: one line a happening, on standard error.

mod sink;

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{EnvFilter, reload};

pub use self::sink::LogEnd;
use self::sink::Sink;
pub(crate) use self::sink::describe;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

/// The started log: what it takes to change its level.
#[derive(Clone)]
pub struct LogControl {
    set: Arc<dyn Fn(LevelFilter) + Send + Sync>,
    /// What it is set to where the configuration says nothing.
    default: LevelFilter,
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").field("default", &self.default).finish_non_exhaustive()
    }
}

impl LogControl {
    /// Logs from now on what is of this level, or of the one that the log was started with.
    pub fn set(&self, level: Option<LevelFilter>) {
        (self.set)(level.unwrap_or(self.default));
    }
}

/// Starts the log for the whole process. `level` applies to the gateway's own lines; those of
/// libraries, which know nothing of secrets, never go below `warn`. Nobody who logs waits for
/// standard error; what is logged before the [`LogEnd`] is dropped is written by then.
///
/// # Errors
///
/// Where a log was started before, or the system gives no thread.
pub fn start(format: LogFormat, level: LevelFilter) -> anyhow::Result<(LogControl, LogEnd)> {
    let terminal = std::io::stderr().is_terminal();
    let (sink, end) = Sink::start(std::io::stderr()).context("starting the log")?;
    // What goes wrong inside would be written to standard error on the spot, with a panic where
    // that fails too.
    let builder =
        tracing_subscriber::fmt().with_writer(sink).with_ansi(terminal).log_internal_errors(false);
    let (started, set) = match (format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => {
            let builder = builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_env_filter(filter(level))
                .with_filter_reloading();
            let set = setter(builder.reload_handle());
            (builder.try_init(), set)
        }
        (LogFormat::Text, _) | (LogFormat::Auto, true) => {
            let builder = builder.compact().with_env_filter(filter(level)).with_filter_reloading();
            let set = setter(builder.reload_handle());
            (builder.try_init(), set)
        }
    };
    started.map_err(|error| anyhow::anyhow!(error).context("starting the log"))?;
    Ok((LogControl { set, default: level }, end))
}

/// h2 warns of frames that are wrong, a line for each: a peer could fill a disk with them.
fn filter(level: LevelFilter) -> EnvFilter {
    EnvFilter::new(format!("warn,h2=error,sluice={level}"))
}

fn setter<S: 'static>(
    handle: reload::Handle<EnvFilter, S>,
) -> Arc<dyn Fn(LevelFilter) + Send + Sync> {
    // An error says that the log is gone: there is nobody to tell.
    Arc::new(move |level| drop(handle.reload(filter(level))))
}
