//! The command line: arguments to library calls, errors to exit codes.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed; the reason is on standard error |
//! | 2 | the arguments are wrong |
//! | 78 | the configuration is wrong (`EX_CONFIG` of `sysexits.h`) |

mod adapter;
mod backup;
pub mod check;
mod client;
mod reload;
mod requests;
mod routes;
mod run;
mod secret;
mod state;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Problems;

/// `EX_CONFIG` of `sysexits.h`: a supervisor need not try again.
const EXIT_CONFIG: u8 = 78;

#[derive(Debug, Parser)]
#[command(name = "sluice", version, about = "A self-hosted webhook gateway", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT.
    Run(run::RunArguments),
    /// Check a configuration, offline and completely: files, secrets, plugins and their settings.
    Check(check::CheckArguments),
    /// Make a running gateway take up its configuration, or tell what that would change.
    Reload(reload::ReloadArguments),
    /// List the routes of a running gateway, and whether they are paused.
    Routes(routes::RoutesArguments),
    /// Pause a route of a running gateway: it accepts nothing, and gives its paused answer.
    Pause(routes::PauseArguments),
    /// Make a paused route of a running gateway accept again.
    Resume(routes::ResumeArguments),
    /// Make secrets, and give those in files new values.
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Look at the adapters of a running gateway, and ask their views.
    #[command(subcommand)]
    Adapter(adapter::AdapterCommand),
    /// Look at the requests of a running gateway, refused ones included.
    #[command(subcommand)]
    Requests(requests::RequestsCommand),
    /// Look at what adapters keep, export it and import it.
    #[command(subcommand)]
    State(state::StateCommand),
    /// Copy the store of a running gateway into a file, consistently and checked.
    Backup(backup::BackupArguments),
}

/// Which configuration is meant.
#[derive(Clone, Debug, Args)]
struct ConfigArgument {
    /// The main configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "sluice.toml", env = "SLUICE_CONFIG")]
    config: PathBuf,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] Problems),
    /// A running gateway refused its configuration.
    #[error("{0}")]
    Reload(String),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Parses the arguments, runs the command and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Routes(arguments) => routes::list(&arguments),
        Command::Pause(arguments) => routes::pause(&arguments),
        Command::Resume(arguments) => routes::resume(&arguments),
        Command::Secret(command) => secret::run(&command),
        Command::Adapter(command) => adapter::run(command),
        Command::Requests(command) => requests::run(command),
        Command::State(command) => state::run(command),
        Command::Backup(arguments) => backup::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Config(problems)) => {
            complain(&problems.to_string());
            ExitCode::from(EXIT_CONFIG)
        }
        Err(CommandError::Reload(refusal)) => {
            complain(&refusal);
            ExitCode::from(EXIT_CONFIG)
        }
        Err(CommandError::Other(error)) => {
            complain(&format!("sluice: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error; where that is gone there is nobody to tell.
fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Prints a result. A reader that has gone away (`sluice … | head`) is no error.
fn print(text: &str) -> Result<(), CommandError> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("writing to standard output").into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
