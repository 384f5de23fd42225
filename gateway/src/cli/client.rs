//! How commands speak to the admin listener of a running gateway.

use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use hyper::body::{Body, Frame};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{CommandError, ConfigArgument};
use crate::config::{SecretUse, SecretValue, Unfit, admin_place, read_secret_copy};
use crate::model::{Clock as _, SystemClock, UnixMillis};

/// How long one question to a running gateway may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// How long a reload may take: it compiles plugins, and gives way to traffic.
const RELOAD_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// How long a file may take on its way: as long as the gateway lets a connection live.
const FILE_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// How long a backup may take to be made and sent, as the gateway bounds it too.
const BACKUP_DEADLINE: Duration = Duration::from_secs(12 * 60 * 60);

/// Bytes of a file that are sent at once.
const FILE_PART: usize = 64 << 10;

/// Which gateway is meant: by its configuration, or by address and token.
#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Base URL of the admin listener, instead of `admin.listen` of the configuration.
    #[arg(long, value_name = "URL", requires = "token_file")]
    admin: Option<url::Url>,
    /// File that holds the bearer token, instead of `admin.token_secret` of the configuration: the
    /// secret's own, or a copy of it.
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

/// What is asked, but for the address.
struct Question {
    method: Method,
    deadline: Duration,
    body: Option<reqwest::Body>,
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, CommandError> {
    Ok(serde_json::from_slice(body).context("reading the gateway's answer")?)
}

/// A file, read as it is sent. Reading blocks: nothing else runs in the client meanwhile.
struct FileBody<F>(F);

impl<F: Read + Unpin> Body for FileBody<F> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let mut part = vec![0; FILE_PART];
        Poll::Ready(match self.0.read(&mut part) {
            Ok(0) => None,
            Ok(read) => {
                part.truncate(read);
                Some(Ok(Frame::data(part.into())))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

impl AdminArguments {
    /// Finds address and token; connects at the first question.
    pub(super) fn client(&self) -> Result<AdminClient, CommandError> {
        let now = SystemClock.now();
        let (base, token) = match (&self.admin, &self.token_file) {
            (Some(base), Some(file)) => {
                let token = read_secret_copy(file, now).map_err(|problem| anyhow!(problem));
                (base.clone(), token.context("reading the token file")?)
            }
            _ => self.configured(now)?,
        };
        if let Some(Unfit { fault, help }) = SecretUse::Header.unfit(&token) {
            return Err(anyhow!("the admin token {fault}; {help}").into());
        }
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

    fn configured(&self, now: UnixMillis) -> Result<(url::Url, SecretValue), CommandError> {
        let place = admin_place(&self.config.config, now)?;
        let base = url::Url::parse(&format!("http://{}/", place.listen))
            .context("making the address of the admin listener")?;
        Ok((base, place.token))
    }
}

impl AdminClient {
    /// The address of a path below the base.
    fn url(&self, path: &[&str]) -> anyhow::Result<url::Url> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
            Err(()) => anyhow::bail!("`{}` is not an address", self.base),
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
        self.get_as(path, query)
    }

    /// The same, as another type than any JSON.
    pub(super) fn get_as<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, CommandError> {
        let question = Question { method: Method::GET, deadline: ANSWER_DEADLINE, body: None };
        let (status, body) = self.ask(question, path, query)?;
        if status.is_success() { json(&body) } else { Err(Self::unexpected(status, &body)) }
    }

    /// Asks for something to be done at `path`, and returns the JSON that tells what became of it,
    /// also where it was refused (422).
    pub(super) fn post(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<serde_json::Value, CommandError> {
        let path: Vec<&str> = path.split('/').collect();
        let question = Question { method: Method::POST, deadline: RELOAD_DEADLINE, body: None };
        let (status, body) = self.ask(question, &path, query)?;
        if status.is_success() || status == StatusCode::UNPROCESSABLE_ENTITY {
            json(&body)
        } else {
            Err(Self::unexpected(status, &body))
        }
    }

    /// Sends what `file` holds to a path whose segments may hold any text, and returns the JSON
    /// answered.
    pub(super) fn send(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        file: impl Read + Send + Sync + Unpin + 'static,
    ) -> Result<serde_json::Value, CommandError> {
        let body = Some(reqwest::Body::wrap(FileBody(file)));
        let question = Question { method: Method::POST, deadline: FILE_DEADLINE, body };
        let (status, body) = self.ask(question, path, query)?;
        if status.is_success() { json(&body) } else { Err(Self::unexpected(status, &body)) }
    }

    /// Asks for bytes, and hands them on as they come. All of them, or an error.
    pub(super) fn download(
        &self,
        path: &[&str],
        mut part: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), CommandError> {
        let question = Question { method: Method::GET, deadline: BACKUP_DEADLINE, body: None };
        let (status, refused) = self.runtime.block_on(async {
            let mut response = self.response(question, path, &[]).await?;
            let status = response.status();
            if !status.is_success() {
                let body = response.bytes().await.context("reading the gateway's answer")?;
                return anyhow::Ok((status, body));
            }
            while let Some(bytes) = response.chunk().await.context("the copy was cut off")? {
                part(&bytes).context("writing the copy")?;
            }
            Ok((status, Bytes::new()))
        })?;
        if status.is_success() { Ok(()) } else { Err(Self::unexpected(status, &refused)) }
    }

    fn ask(
        &self,
        question: Question,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<(StatusCode, Bytes), CommandError> {
        let answer = self.runtime.block_on(async {
            let response = self.response(question, path, query).await?;
            let status = response.status();
            let body = response.bytes().await.context("reading the gateway's answer")?;
            anyhow::Ok((status, body))
        })?;
        Ok(answer)
    }

    /// Sends a question and waits for the head of the answer.
    async fn response(
        &self,
        question: Question,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<reqwest::Response> {
        let url = self.url(path)?;
        let token = std::str::from_utf8(self.token.expose()).context("the token is not text")?;
        let Question { method, deadline, body } = question;
        let mut request =
            self.http.request(method, url).timeout(deadline).bearer_auth(token).query(query);
        if let Some(body) = body {
            request = request.body(body);
        }
        request
            .send()
            .await
            .with_context(|| format!("asking the gateway at {}: is it running?", self.base))
    }

    fn unexpected(status: StatusCode, body: &[u8]) -> CommandError {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let detail = body.get("detail").and_then(serde_json::Value::as_str);
        let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        anyhow!("the gateway answered {status}{detail}").into()
    }
}
