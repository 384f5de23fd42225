//! Several listeners at once, of every kind, and how they come and go while the gateway runs.

mod drain;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::http::{Connection, send};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::reload::{changes, problems};
use sluice_tests::{Gateway, Home, HomeBuilder, vkyc_request, wait_until};
use tokio::net::UnixStream;

/// A home with the VKYC route and one listener more.
fn home(table: &str) -> Home {
    let more = format!("[ingest.listeners.more]\n{table}\n");
    HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().toml(&more).build().unwrap()
}

/// Posts by a Unix socket.
async fn post_by(socket: &Path, id: &str) -> u16 {
    let stream = UnixStream::connect(socket).await.unwrap();
    let mut connection = Connection::over(stream, "localhost").await.unwrap();
    connection.send(vkyc_request(vkyc_payload(id))).await.unwrap().status
}

async fn post_at(address: &str, id: &str) -> u16 {
    send(address.parse().unwrap(), vkyc_request(vkyc_payload(id))).await.unwrap().status
}

/// Waits until every event accepted has come out.
async fn delivered(home: &Home, count: usize) {
    wait_until("every event", Duration::from_secs(10), || async {
        (home.events().unwrap().len() == count).then_some(())
    })
    .await
    .unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_takes_the_place_of_one_left_over_and_is_gone_at_shutdown() {
    let home = home("address = \"unix:ingest.sock\"\nmode = \"0600\"");
    let socket = home.folder().join("ingest.sock");
    // Left of a gateway that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let gateway = home.start().await.unwrap();
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(post_by(&socket, "trn:vkyc:by-socket").await, 200);
    assert_eq!(gateway.post_vkyc(vkyc_payload("trn:vkyc:by-tcp")).await.unwrap().status, 200);
    gateway.kill9();
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());

    let gateway = home.start().await.unwrap();
    assert_eq!(post_by(&socket, "trn:vkyc:again").await, 200);
    delivered(&home, 3).await;
    assert!(gateway.terminate().await.unwrap().status.success());
    assert!(!socket.exists(), "the socket was left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_socket_or_is_in_use_is_left_alone_and_told() {
    for (left, said) in [("a file", "no socket"), ("a listener", "another process listens there")] {
        let home = home("address = \"unix:ingest.sock\"");
        let socket = home.folder().join("ingest.sock");
        let listener = match left {
            "a file" => fs::write(&socket, "kept").map(|()| None).unwrap(),
            _ => Some(std::os::unix::net::UnixListener::bind(&socket).unwrap()),
        };
        let error = format!("{:#}", home.start().await.unwrap_err());
        assert!(error.contains("ingest.listeners.more.address"), "{error}");
        assert!(error.contains(said), "{error}");
        assert!(socket.exists());
        if listener.is_some() {
            std::os::unix::net::UnixStream::connect(&socket).unwrap();
        }
    }
}

async fn reload(gateway: &Gateway, home: &Home, from: &str, to: &str) -> Value {
    home.edit(from, to).unwrap();
    gateway.reload().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_move_open_and_go_while_connections_stay() {
    let home = home("address = \"127.0.0.2:0\"");
    let gateway = home.start().await.unwrap();
    let second = gateway.listener("127.0.0.2:0").unwrap();
    assert_eq!(post_at(&second, "trn:vkyc:1").await, 200);
    let mut kept = Connection::open(gateway.ingest()).await.unwrap();

    // Another one comes.
    let socket = home.folder().join("a.sock");
    let came = "listen = [\"127.0.0.1:0\", \"unix:a.sock\"]";
    let record = reload(&gateway, &home, "listen = \"127.0.0.1:0\"", came).await;
    let said = changes(&record);
    assert!(said.len() == 1 && said[0].contains("`listen` 127.0.0.1:0 → 127.0.0.1:0, unix:"));
    assert_eq!(mode(&socket), 0o660);
    let mut by_socket =
        Connection::over(UnixStream::connect(&socket).await.unwrap(), "a").await.unwrap();
    assert_eq!(by_socket.send(vkyc_request(vkyc_payload("trn:vkyc:2"))).await.unwrap().status, 200);

    // It gets a table of its own: the same socket, open to others than before.
    let owned = "[ingest.listeners.socket]\naddress = \"unix:a.sock\"\nmode = \"0606\"\n";
    home.edit(came, "listen = \"127.0.0.1:0\"").unwrap();
    reload(&gateway, &home, "[ingest.listeners.more]", &format!("{owned}[ingest.listeners.more]"))
        .await;
    assert_eq!(mode(&socket), 0o606);
    assert_eq!(by_socket.send(vkyc_request(vkyc_payload("trn:vkyc:3"))).await.unwrap().status, 200);

    // Both others move; who was connected to the one that stays notices nothing.
    home.edit("\"127.0.0.2:0\"", "\"127.0.0.3:0\"").unwrap();
    reload(&gateway, &home, "\"unix:a.sock\"", "\"unix:b.sock\"").await;
    let third = gateway.listener("127.0.0.3:0").unwrap();
    assert_eq!(post_at(&third, "trn:vkyc:4").await, 200);
    assert_eq!(post_by(&home.folder().join("b.sock"), "trn:vkyc:5").await, 200);
    wait_until("the moved listeners to be gone", Duration::from_secs(5), || async {
        let closed = std::net::TcpStream::connect(second.as_str()).is_err();
        (closed && !socket.exists()).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(kept.send(vkyc_request(vkyc_payload("trn:vkyc:6"))).await.unwrap().status, 200);
    delivered(&home, 6).await;
    assert!(gateway.terminate().await.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_cannot_be_bound_refuses_the_reload_and_leaves_no_other_open() {
    let home = home("address = \"127.0.0.2:0\"");
    let gateway = home.start().await.unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen =
        format!("listen = [\"127.0.0.1:0\", \"unix:a.sock\", \"{}\"]", taken.local_addr().unwrap());
    home.edit("listen = \"127.0.0.1:0\"", &listen).unwrap();
    let is_it = |record: &Value| {
        let told = problems(record);
        told.len() == 1 && told[0].starts_with("ingest.listen.2: cannot listen on")
    };
    gateway.reloaded_since(1, "a refusal", is_it).await.unwrap();
    assert!(!home.folder().join("a.sock").exists(), "the other one is open");
    let second = gateway.listener("127.0.0.2:0").unwrap();
    assert_eq!(post_at(&second, "trn:vkyc:1").await, 200);
}
