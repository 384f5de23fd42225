//! The program `sluice`: arguments in, exit code out. Everything else is the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice::cli::main()
}
