//! systemd, played by the test: sockets handed over, what it is told and in which order, and the
//! watchdog.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use sluice_tests::http::{Connection, send};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Home, HomeBuilder, vkyc_request, wait_until};
use tokio::net::{UnixDatagram, UnixStream};
use tokio::time::timeout;

fn home(table: &str) -> Home {
    HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().toml(table).build().unwrap()
}

const LISTENER: &str = "[ingest.listeners.handed]\naddress = \"systemd:ingest\"\n";

/// Receives what the gateway tells.
struct Manager {
    socket: UnixDatagram,
    path: String,
    /// Pings of the watchdog are counted and not kept.
    pings: u32,
    told: VecDeque<String>,
}

impl Manager {
    fn new(home: &Home) -> Self {
        let path = home.folder().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let path = path.to_str().unwrap().to_owned();
        Self { socket, path, pings: 0, told: VecDeque::new() }
    }

    /// The next message, or none for so long.
    async fn receive(&mut self, silence: Duration) -> Option<()> {
        let mut buffer = [0; 4096];
        let received = timeout(silence, self.socket.recv(&mut buffer)).await.ok()?;
        let text = String::from_utf8(buffer[..received.unwrap()].to_vec()).unwrap();
        if text == "WATCHDOG=1\n" {
            self.pings += 1;
        } else {
            self.told.push_back(text);
        }
        Some(())
    }

    /// The next message that is no ping.
    async fn next(&mut self) -> String {
        while self.told.is_empty() {
            self.receive(Duration::from_secs(30)).await.expect("a message in time");
        }
        self.told.pop_front().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_of_the_start_of_reloads_and_of_the_stop_in_this_order() {
    let home = home("");
    let mut manager = Manager::new(&home);
    let gateway = home.start_with(&[("NOTIFY_SOCKET", &manager.path)]).await.unwrap();
    let ready = manager.next().await;
    assert!(ready.starts_with("READY=1\nSTATUS=Serving on 127.0.0.1:"), "{ready}");

    gateway.signal("HUP").unwrap();
    let reloading = manager.next().await;
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload");
    assert!(since.trim_end().parse::<u64>().unwrap() > 0);
    assert!(manager.next().await.starts_with("READY=1\nSTATUS=Serving on 127.0.0.1:"));

    // A dry run is none; one that is refused has an end as well.
    gateway.admin_post("/api/v1/reloads?dry_run=true", Duration::from_secs(30)).await.unwrap();
    home.edit("[plugins]", "[plugins]\nnothing = 1").unwrap();
    assert!(manager.next().await.starts_with("RELOADING=1\n"));
    let refused = manager.next().await;
    assert!(refused.starts_with("READY=1\n") && refused.contains("was refused"), "{refused}");

    assert!(gateway.terminate().await.unwrap().status.success());
    assert_eq!(manager.next().await, "STOPPING=1\nSTATUS=Draining\n");
    assert_eq!((manager.told.len(), manager.pings), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_were_handed_over_are_served_and_survive_a_reload_without_them() {
    let home = home(LISTENER);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    // Before the gateway is there, somebody waits already.
    let waiting = tokio::net::TcpStream::connect(address).await.unwrap();
    let gateway = home.start_activated(tcp.try_clone().unwrap(), "ingest").await.unwrap();
    assert_eq!(gateway.listener("systemd:ingest").unwrap(), address.to_string());
    let mut connection = Connection::over(waiting, "a").await.unwrap();
    let answer = connection.send(vkyc_request(vkyc_payload("trn:vkyc:1"))).await.unwrap();
    assert_eq!(answer.status, 200);

    home.edit(LISTENER, "").unwrap();
    gateway.reload().await.unwrap();
    assert!(gateway.listener("systemd:ingest").is_err());
    home.edit("[plugins]", &format!("{LISTENER}[plugins]")).unwrap();
    gateway.reload().await.unwrap();
    let request = vkyc_request(vkyc_payload("trn:vkyc:2"));
    assert_eq!(send(address, request).await.unwrap().status, 200);

    // Another name was not handed over: the reload is refused, and the socket served on.
    home.edit("systemd:ingest", "systemd:other").unwrap();
    assert!(gateway.reload().await.unwrap_err().to_string().contains("but `ingest`"));
    let request = vkyc_request(vkyc_payload("trn:vkyc:3"));
    assert_eq!(send(address, request).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_that_was_handed_over_is_served_and_left_behind() {
    let home = home(LISTENER);
    let path = home.folder().join("handed.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let gateway = home.start_activated(socket, "ingest").await.unwrap();
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut connection = Connection::over(stream, "a").await.unwrap();
    let answer = connection.send(vkyc_request(vkyc_payload("trn:vkyc:1"))).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(gateway.terminate().await.unwrap().status.success());
    assert!(path.exists(), "a socket of the service manager was removed");
}

/// Starts a gateway under a watchdog of a second, and counts its pings around a first webhook.
async fn pings(fault: &str) -> (u32, u32) {
    const PERIOD: &str = "900000";
    let home = home("");
    let mut manager = Manager::new(&home);
    let environment = [
        ("NOTIFY_SOCKET", manager.path.as_str()),
        ("WATCHDOG_USEC", PERIOD),
        ("SLUICE_FAULT", fault),
    ];
    let gateway = home.start_with(&environment).await.unwrap();
    while manager.pings < 3 {
        manager.receive(Duration::from_secs(10)).await.expect("a ping");
    }
    let before = manager.pings;
    let address = gateway.ingest();
    let mut posting = tokio::task::JoinSet::new();
    posting.spawn(async move {
        drop(send(address, vkyc_request(vkyc_payload("trn:vkyc:1"))).await);
    });
    // Waits for more of them than come while the webhook is on its way, or for silence.
    while manager.pings < before + 6 {
        if manager.receive(Duration::from_secs(3)).await.is_none() {
            break;
        }
    }
    if fault.is_empty() {
        wait_until("the event", Duration::from_secs(10), || async {
            (home.events().unwrap().len() == 1).then_some(())
        })
        .await
        .unwrap();
    }
    (before, manager.pings - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_told_until_the_writer_hangs() {
    let (_, healthy) = pings("").await;
    assert_eq!(healthy, 6);
    // The webhook reaches the writer within a period or two; then there is silence.
    let (_, hanging) = pings("writer-hangs").await;
    println!("{hanging} more pings after a writer began to hang, then none");
    assert!(hanging < 6, "a gateway whose writer hangs is still called alive");
}
