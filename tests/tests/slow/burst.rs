//! Connections that come all at once, while the gateway has no time for them.

use std::net::SocketAddr;
use std::time::Duration;

use sluice_tests::provider::vkyc_payload;
use sluice_tests::{HomeBuilder, wait_until};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{MACHINE, Site};

const BURST: usize = 2_000;

/// A handshake on this machine takes microseconds, and one that was dropped is tried again after a
/// second.
const DROPPED: Duration = Duration::from_millis(700);

/// Connects one after another, up to the first whose handshake is dropped.
async fn connected(to: SocketAddr) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..BURST {
        let Ok(stream) = timeout(DROPPED, TcpStream::connect(to)).await else { break };
        streams.push(stream.unwrap());
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_in_the_kernel_and_no_handshake_is_dropped() {
    let _machine = MACHINE.lock().await;
    let site = Site::new("");
    let gateway = site.start("").await;
    gateway.signal("STOP").unwrap();
    let burst = connected(gateway.ingest()).await;
    gateway.signal("CONT").unwrap();
    assert_eq!(burst.len(), BURST);
    let posted = gateway.post_vkyc(vkyc_payload("after-the-burst")).await.unwrap();
    assert_eq!(posted.status, 200);
    // All of them came in.
    wait_until("the burst to be accepted", Duration::from_secs(5), || async {
        let open = gateway.metric("sluice_connections_open").await.unwrap();
        (open >= 2_000.0).then_some(())
    })
    .await
    .unwrap();
}

/// The same of a Unix socket, where who comes too many is refused at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_at_a_unix_socket_waits_as_well() {
    let _machine = MACHINE.lock().await;
    let home = HomeBuilder::new().vkyc(&[]).unwrap().build().unwrap();
    let socket = home.folder().join("ingest.sock");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]", socket.display());
    std::fs::write(home.config(), text.replacen("listen = \"127.0.0.1:0\"", &listen, 1)).unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    gateway.signal("STOP").unwrap();
    let mut burst = Vec::new();
    while burst.len() < BURST {
        match tokio::net::UnixStream::connect(&socket).await {
            Ok(stream) => burst.push(stream),
            Err(_) => break,
        }
    }
    gateway.signal("CONT").unwrap();
    assert_eq!(burst.len(), BURST);
}

/// The control: where the kernel holds fewer, the next handshake is dropped, whosever it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_a_shorter_queue_fails_this_test() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1_024).unwrap();
    let burst = connected(listener.local_addr().unwrap()).await;
    assert!(burst.len() < BURST, "{}", burst.len());
}
