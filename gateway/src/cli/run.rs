//! `sluice run`.

use std::path::PathBuf;

use clap::Args;
use tracing_subscriber::filter::LevelFilter;

use super::{CommandError, ConfigArgument};
use crate::gateway::{self, Options};
use crate::telemetry::{self, LogFormat};

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Written, whole, once the gateway serves, and again when a listener moves: its addresses and
    /// process id as JSON.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged where `log.level` of the configuration does not say: `off`, `error`, `warn`,
    /// `info`, `debug` or `trace`.
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "SLUICE_LOG")]
    log_level: LevelFilter,
}

pub(super) fn run(arguments: &RunArguments) -> Result<(), CommandError> {
    let (log, _end) = telemetry::start_log(arguments.log_format, arguments.log_level)?;
    let options = Options {
        config: arguments.config.config.clone(),
        ready_file: arguments.ready_file.clone(),
        log: Some(log),
    };
    gateway::run(&options).map_err(|error| match error {
        gateway::StartError::Config(problems) => CommandError::Config(problems),
        gateway::StartError::Other(error) => CommandError::Other(error),
    })
}
