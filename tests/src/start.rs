//! The ways in which a gateway is started in its folder.

use std::os::fd::OwnedFd;
use std::process::Command;

use crate::artifacts;
use crate::gateway::Gateway;
use crate::home::Home;

/// A user without any rights, by number: `nobody` of Debian.
const NOBODY: &str = "65534";

impl Home {
    /// Starts the gateway and waits until it is ready, logging at trace level.
    ///
    /// # Errors
    ///
    /// Where it ends or is not ready in time; with the end of its log.
    pub async fn start(&self) -> anyhow::Result<Gateway> {
        self.start_with(&[("SLUICE_LOG", "trace")]).await
    }

    /// Starts it with these environment variables.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_with(&self, environment: &[(&str, &str)]) -> anyhow::Result<Gateway> {
        let number = self.next_start();
        Gateway::start(self, number, environment).await
    }

    /// Starts it as a service manager does that hands over a listening socket under this name.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_activated(
        &self,
        socket: impl Into<OwnedFd>,
        name: &str,
    ) -> anyhow::Result<Gateway> {
        let number = self.next_start();
        // The first descriptor handed over is 3, and who is meant is told by its process number:
        // the shell's own, which the gateway takes over.
        let script = "export LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 0</dev/null";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(artifacts::gateway()?);
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name).stdin(socket.into());
        Gateway::launch(command, self, number, &[("SLUICE_LOG", "debug")]).await
    }

    /// Starts it as the user `nobody`, to whom the folder is given. Without the rights to do so (the
    /// tests do not run as root), it is started as whoever runs them.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_unprivileged(&self) -> anyhow::Result<Gateway> {
        let number = self.next_start();
        let environment = [("SLUICE_LOG", "debug")];
        let given = Command::new("chown").args(["-R", NOBODY]).arg(self.folder()).output();
        if !given.is_ok_and(|given| given.status.success()) {
            return Gateway::start(self, number, &environment).await;
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]);
        command.arg(artifacts::gateway()?);
        Gateway::start_by(command, self, number, &environment).await
    }

    /// Starts it with so many descriptors and no more.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_limited(
        &self,
        descriptors: u64,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Gateway> {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={descriptors}:{descriptors}"));
        command.arg(artifacts::gateway()?);
        self.start_by(command, environment).await
    }

    /// Starts it by another command, to which its arguments are added.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_by(
        &self,
        command: Command,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Gateway> {
        let number = self.next_start();
        Gateway::start_by(command, self, number, environment).await
    }
}
