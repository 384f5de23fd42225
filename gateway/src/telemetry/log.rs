//! The log: one line a happening, on standard error.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

/// Starts the log for the whole process. `level` applies to the gateway's own lines; those of
/// libraries, which know nothing of secrets, never go below `warn`.
///
/// # Errors
///
/// Where a log was started before.
pub fn start(format: LogFormat, level: LevelFilter) -> anyhow::Result<()> {
    let filter = EnvFilter::new(format!("warn,sluice={level}"));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal);
    let started = match (format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
        (LogFormat::Text, _) | (LogFormat::Auto, true) => builder.compact().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error).context("starting the log"))
}
