//! How commands speak to the admin listener of a running gateway.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::{Method, StatusCode};

use super::{CommandError, ConfigArgument};
use crate::config::{self, Listen, SecretValue};

/// How long one question to a running gateway may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// How long a reload may take: it compiles plugins, and gives way to traffic.
const RELOAD_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Which gateway is meant: by its configuration, or by address and token.
#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Base URL of the admin listener, instead of `admin.listen` of the configuration.
    #[arg(long, value_name = "URL", requires = "token_file")]
    admin: Option<url::Url>,
    /// File that holds the bearer token, instead of `admin.token_secret` of the configuration.
    #[arg(long, value_name = "FILE", requires = "admin")]
    token_file: Option<PathBuf>,
}

/// A connection to an admin listener.
#[derive(Debug)]
pub(super) struct AdminClient {
    base: url::Url,
    token: SecretValue,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl AdminArguments {
    /// Finds address and token; connects at the first question.
    pub(super) fn client(&self) -> Result<AdminClient, CommandError> {
        let (base, token) = match (&self.admin, &self.token_file) {
            (Some(base), Some(file)) => {
                let text = std::fs::read(file)
                    .with_context(|| format!("reading the token file {}", file.display()))?;
                (base.clone(), SecretValue::new(text.trim_ascii().to_vec()))
            }
            _ => self.configured()?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the client")?;
        crate::telemetry::install_tls_provider();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("making the client")?;
        Ok(AdminClient { base, token, http, runtime })
    }

    fn configured(&self) -> Result<(url::Url, SecretValue), CommandError> {
        let config = config::load(&self.config.config)?;
        let Listen::Tcp(address) = config.admin.listen;
        let base = url::Url::parse(&format!("http://{address}/"))
            .context("making the address of the admin listener")?;
        let token = config.admin.token.versions.first().map(|version| version.value.clone());
        let Some(token) = token else {
            return Err(anyhow::anyhow!("the admin token has no value").into());
        };
        Ok((base, token))
    }
}

impl AdminClient {
    /// The address of a path below the base.
    fn url(&self, path: &[&str]) -> Result<url::Url, CommandError> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
            Err(()) => return Err(anyhow::anyhow!("`{}` is not an address", self.base).into()),
        }
        Ok(url)
    }

    /// Asks for `path` and returns the JSON answered.
    pub(super) fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<serde_json::Value, CommandError> {
        self.get_segments(&path.split('/').collect::<Vec<_>>(), query)
    }

    /// The same, of a path whose segments may hold any text.
    pub(super) fn get_segments(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<serde_json::Value, CommandError> {
        let (status, body) = self.ask(Method::GET, path, query, ANSWER_DEADLINE)?;
        if status.is_success() { Ok(body) } else { Err(Self::unexpected(status, &body)) }
    }

    /// Asks for something to be done at `path`, and returns the JSON that tells what became of it,
    /// also where it was refused (422).
    pub(super) fn post(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<serde_json::Value, CommandError> {
        let path: Vec<&str> = path.split('/').collect();
        let (status, body) = self.ask(Method::POST, &path, query, RELOAD_DEADLINE)?;
        if status.is_success() || status == StatusCode::UNPROCESSABLE_ENTITY {
            Ok(body)
        } else {
            Err(Self::unexpected(status, &body))
        }
    }

    fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        deadline: Duration,
    ) -> Result<(StatusCode, serde_json::Value), CommandError> {
        let url = self.url(path)?;
        let token = std::str::from_utf8(self.token.expose()).context("the token is not text")?;
        let answer = self.runtime.block_on(async {
            let response = self
                .http
                .request(method, url)
                .timeout(deadline)
                .bearer_auth(token)
                .query(query)
                .send()
                .await
                .with_context(|| format!("asking the gateway at {}: is it running?", self.base))?;
            let status = response.status();
            let body = response.json().await.context("reading the gateway's answer")?;
            anyhow::Ok((status, body))
        })?;
        Ok(answer)
    }

    fn unexpected(status: StatusCode, body: &serde_json::Value) -> CommandError {
        let text = |key| body.get(key).and_then(serde_json::Value::as_str).unwrap_or("");
        anyhow::anyhow!("the gateway answered {status}: {} {}", text("title"), text("detail"))
            .into()
    }
}
