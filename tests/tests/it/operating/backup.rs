//! `sluice backup`, and the guide to restoring (`docs/operating.md`) step by step.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rusqlite::Connection as Database;
use sluice_tests::destination::{Destination, Reply};
use sluice_tests::ledger::digest;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::wait::wait_until;
use sluice_tests::{store, vkyc_request};

use super::*;

/// Entries of a store that takes a while to copy.
const ROWS: usize = 100_000;

/// How long a request may take while such a store is copied, on a machine that is shared. A copy that
/// held the writer up would let it wait for all of its time.
const SLOWEST_MAX: Duration = Duration::from_secs(2);

const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// The vkyc route with a destination that can be down, and an adapter that keeps state.
fn guide_home(destination: &Destination) -> Home {
    let keeper = "[adapters.first]\nplugin = \"keeper\"\n\
        [routes.first]\npath = \"/hooks/first\"\nadapter = \"first\"\n\
        secrets = { shared = \"keeper-secret\" }\n";
    let retry = "retry = { delays = [\"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\"] }";
    let home = HomeBuilder::new().vkyc(&["ledger"]).unwrap().guest("keeper").unwrap();
    home.secret("keeper-secret", SECRET)
        .toml(keeper)
        .http_destination("ledger", &format!("http://{}/in", destination.address()), retry)
        .build()
        .unwrap()
}

fn backup(home: &Home, gateway: &Gateway, file: &str) {
    let told = done(home, gateway, &["backup", file]);
    assert!(told.starts_with(&format!("{file}: ")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_restored_as_the_guide_says_and_goes_on() {
    let ledger = Destination::start().unwrap();
    ledger.otherwise(Reply::Silence);
    let home = guide_home(&ledger);
    let gateway = home.start_with(&[]).await.unwrap();
    assert_eq!(told(&gateway, "first", "tally kept").await, "1");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(Answered::default()));
    let clients = posting(&gateway, &stop, &answered);
    wait_until("some requests", DELIVERY_MAX, || {
        let enough = answered.count() >= 100;
        async move { enough.then_some(()) }
    })
    .await
    .unwrap();
    let before = answered.all();
    let file = text_of(&home.folder().join("backup.db"));
    backup(&home, &gateway, &file);
    assert!(answered.count() > before.len(), "requests were answered meanwhile");
    gateway.kill9();
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;

    // Into a fresh folder, as after the loss of a disk.
    ledger.otherwise(Reply::status(200));
    let fresh = guide_home(&ledger);
    fs::create_dir_all(fresh.data()).unwrap();
    fs::copy(&file, fresh.data().join("sluice.db")).unwrap();
    let restored = fresh.start_with(&[]).await.unwrap();
    let had = ledger.received().len();
    restored.until_delivered(DELIVERY_MAX).await.unwrap();
    let delivered: BTreeSet<String> = ledger.received()[had..]
        .iter()
        .filter_map(|one| {
            let event: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
            sluice_tests::provider::vkyc_event_id(&event).map(str::to_owned)
        })
        .collect();
    assert!(before.iter().all(|id| delivered.contains(id)), "each event that was owed");
    let before_again = ledger.received().len();
    for id in before.iter().take(20) {
        assert_eq!(restored.post_vkyc(vkyc_payload(id)).await.unwrap().status, 200);
    }
    assert_eq!(told(&restored, "first", "tally kept").await, "2", "state goes on");
    let duplicates = done(
        &fresh,
        &restored,
        &["requests", "list", "--disposition", "duplicate", "--limit", "200"],
    );
    assert_eq!(duplicates.lines().count(), 1 + 20, "{duplicates}");
    assert_eq!(ledger.received().len(), before_again, "and delivers nothing twice");
    assert!(restored.terminate().await.unwrap().status.success());

    let database = Database::open(fresh.data().join("sluice.db")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    drop(database);
    let stored = store::requests(&fresh).await.unwrap();
    assert!(stored.iter().all(|one| one.intact && one.events.iter().all(|event| event.intact)));
    let bodies: BTreeSet<_> = stored.iter().map(|one| digest(&one.record.body)).collect();
    let lost = before.iter().filter(|id| !bodies.contains(&digest(vkyc_payload(id).as_bytes())));
    assert_eq!(lost.count(), 0, "of {} that were acknowledged before", before.len());
}

/// Ids of events that were answered 200.
#[derive(Default)]
struct Answered(std::sync::Mutex<Vec<String>>);

impl Answered {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Clients that post events of their own until they are stopped or the gateway is gone.
fn posting(gateway: &Gateway, stop: &Arc<AtomicBool>, answered: &Arc<Answered>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (stop, answered, address) = (Arc::clone(stop), Arc::clone(answered), gateway.ingest());
        clients.spawn(async move {
            let Ok(mut connection) = Connection::open(address).await else { return };
            for number in 0.. {
                let id = format!("trn:vkyc:{client}-{number}");
                let Ok(answer) = connection.send(vkyc_request(vkyc_payload(&id))).await else {
                    return;
                };
                assert_eq!(answer.status, 200);
                answered.0.lock().unwrap().push(id);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_while_a_large_store_is_copied() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    let mut many =
        String::from("{\"sluice_state\":1,\"adapter\":\"second\",\"state_version\":1}\n");
    let value = "v".repeat(400);
    for n in 0..ROWS {
        many.push_str(&format!("{{\"key\":\"k{n:06}\",\"text\":\"{value}\"}}\n"));
    }
    many.push_str(&format!("{{\"entries\":{ROWS}}}\n"));
    let file = write(&home, "many.jsonl", &many);
    done(&home, &gateway, &["state", "import", &file]);
    let clients =
        Clients::start(&gateway, 8, |client, _| request("first", format!("tally n{client}")));
    let began = Instant::now();
    let file = text_of(&home.folder().join("backup.db"));
    backup(&home, &gateway, &file);
    let took = began.elapsed();
    let flow = clients.stop().await;
    let bytes = fs::metadata(&file).unwrap().len();
    println!(
        "{bytes} bytes backed up in {took:?}; {} requests meanwhile, the slowest in {:?}",
        flow.count(),
        flow.slowest
    );
    assert!(bytes > 40_000_000);
    assert!(flow.count() > 50 && flow.slowest < SLOWEST_MAX, "{:?}", flow.slowest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_its_owners_alone_and_replaces_nothing_unasked() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    told(&gateway, "first", "tally a").await;
    let folder = home.folder().join("backups");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("backup.db");
    let file = text_of(&path);
    backup(&home, &gateway, &file);
    let first = fs::metadata(&path).unwrap();
    assert_eq!(first.permissions().mode() & 0o777, 0o600);
    let Ran { code, err, .. } = sluice(&home, &gateway, &["backup", &file]);
    assert!(code == Some(1) && err.contains("`--force` replaces it"), "{err}");
    assert_eq!(fs::metadata(&path).unwrap().ino(), first.ino(), "it is as it was");
    let told = done(&home, &gateway, &["backup", &file, "--force", "--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(told["bytes"], bytes.len());
    assert_eq!(told["sha256"], hex::encode(digest(&bytes)));
    assert_ne!(fs::metadata(&path).unwrap().ino(), first.ino());

    // A gateway that goes in the middle leaves no file, nor does a folder that is not there.
    let missing = text_of(&folder.join("none/backup.db"));
    assert_eq!(sluice(&home, &gateway, &["backup", &missing]).code, Some(1));
    let admin = format!("http://{}/", gateway.admin());
    assert!(gateway.terminate().await.unwrap().status.success());
    let gone = text_of(&folder.join("gone.db"));
    let asked = ["backup", &gone, "--admin", &admin, "--token-file", "secrets/admin-token"];
    assert_eq!(home.sluice(&asked).unwrap().status.code(), Some(1));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left over");
    let beside = fs::read_dir(home.data()).unwrap().map(|file| file.unwrap().file_name());
    assert!(beside.into_iter().all(|name| !name.to_string_lossy().contains("backup")));
}
