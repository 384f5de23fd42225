//! `cargo xtask docs`: writes the pages that are generated from the adapters.

use std::process::ExitCode;

use crate::plugins;
use crate::process;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// Seen by the test that otherwise compares the pages.
const WRITE_VARIABLE: &str = "SLUICE_WRITE_DOCS";

/// Builds the adapters and writes `docs/adapters/<name>.md` for each.
///
/// # Errors
///
/// Where something does not build or an adapter does not load.
pub(crate) fn docs(workspace: &Workspace, progress: &Progress) -> anyhow::Result<ExitCode> {
    plugins::build_adapters(workspace, progress)?;
    progress.step("Writing docs/adapters");
    // As `test` builds it, so that nothing is built twice.
    process::run(
        process::cargo(&workspace.root)
            .args(["test", "--workspace", "--features", "sluice/faults", "--test", "it", "docs::"])
            .env(WRITE_VARIABLE, "1"),
    )?;
    Ok(ExitCode::SUCCESS)
}
