//! The measure of the bench: hyper alone, answering 200 to every request once its body is read.
//! Prints the address it listens on and serves until it is killed.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io::Write as _;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("binding a port")?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", listener.local_addr()?).context("printing the address")?;
    output.flush().context("printing the address")?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.context("accepting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        // What has ended is taken out, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let service = service_fn(answer);
            // The load generator closes connections as it likes.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A body that breaks off is answered too; the connection is gone by then.
    drop(request.into_body().collect().await);
    Ok(Response::new(Full::default()))
}
