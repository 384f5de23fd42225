//! Posts to a gateway until it is killed, and prints the id of each request that was answered 200:
//! the load inside the machine whose power is cut.
//!
//! `post_forever READY_FILE PREFIX`: posts to the gateway that has written the file.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use sluice_tests::http::Connection;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{vkyc_request, wait_until};
use tokio::task::JoinSet;

/// Enough that a commit group has company.
const CLIENTS: usize = 8;

/// A start beside other tests, in a machine that is not a real one.
const START_MAX: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context("the ready file is missing")?;
    let prefix = arguments.next().context("the prefix is missing")?;
    let ready = wait_until("the ready file", START_MAX, || async {
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).ok()?).ok()
    });
    let ready = ready.await?;
    let address = ready.get("ingest").and_then(serde_json::Value::as_str);
    let address: SocketAddr = address.context("the ready file has no address")?.parse()?;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(post(address, format!("{prefix}-{client}")));
    }
    while let Some(ended) = clients.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(())
}

async fn post(address: SocketAddr, prefix: String) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    for number in 0_u64.. {
        let id = format!("trn:vkyc:{prefix}-{number}");
        let answer = connection.send(vkyc_request(vkyc_payload(&id))).await?;
        match answer.status {
            200 => writeln!(std::io::stdout(), "acknowledged {id}").context("printing")?,
            // So slow a machine may have too much to do for a moment: nothing was promised.
            503 => {}
            status => anyhow::bail!("answered {status}"),
        }
    }
    Ok(())
}
