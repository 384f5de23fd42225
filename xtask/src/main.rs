//! The project's own commands: `cargo xtask run | test | plugins | docs | bench`.
//!
//! Each says what it does while it works, and ends with the remedy where something is missing.
//! Nothing here is needed to run a built gateway.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program speaks on its standard streams"
)]

mod announce;
mod bench;
mod debian;
mod docs;
mod names;
mod plugins;
mod process;
mod progress;
mod python;
mod run;
mod secrets;
mod suites;
mod test;
mod wasm;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::progress::Progress;
use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prepare and build everything, then run config/sluice.toml.
    Run {
        /// Passed on to `sluice run`, after `--`.
        #[arg(last = true)]
        options: Vec<OsString>,
    },
    /// Prepare and build everything, then run every test.
    Test {
        /// Run what takes longer too.
        #[arg(long)]
        long: bool,
        /// Run only tests whose name contains this, and all of the test program of that name.
        filter: Option<String>,
    },
    /// Build the adapters and the test guests as components.
    Plugins,
    /// Write the pages of docs/adapters from what the adapters describe.
    Docs,
    /// Measure the gateway beside a bare HTTP server.
    Bench {
        /// Passed on to the bench program (`--help` lists them), after `--`.
        #[arg(last = true)]
        options: Vec<OsString>,
    },
    /// Print where a starting gateway serves, as soon as it does.
    #[command(hide = true)]
    Announce {
        ready_file: PathBuf,
        /// The process that is starting.
        gateway: u32,
        /// Leave a process behind that does it, and end.
        #[arg(long)]
        detach: bool,
    },
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let workspace = Workspace::find()?;
    match command {
        Command::Run { options } => run::run(&workspace, &progress, &options),
        Command::Test { long, filter } => {
            test::test(&workspace, &progress, &test::Selection { long, filter })
        }
        Command::Plugins => {
            plugins::build(&workspace, &progress)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Docs => docs::docs(&workspace, &progress),
        Command::Bench { options } => bench::bench(&workspace, &progress, &options),
        Command::Announce { ready_file, gateway, detach } => {
            if detach {
                announce::detach(&ready_file, gateway)?;
            } else {
                announce::announce(&workspace, &ready_file, gateway)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
