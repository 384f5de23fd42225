//! A full disk: nothing acknowledged is lost, and nobody has to restart anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sluice_tests::provider::vkyc_payload;
use sluice_tests::wait::wait_until;
use sluice_tests::{Gateway, HomeBuilder, store};

/// How long it may take to notice that there is room again.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// A file system of `megabytes` in memory, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let size = format!("size={megabytes}m,mode=0700");
        run("mount", &["-t", "tmpfs", "-o", &size, "sluice-test", folder.to_str().unwrap()]);
        Self(folder)
    }

    /// Fills what is left with a file, which is returned.
    fn fill(&self) -> PathBuf {
        let file = self.0.join("filler");
        let filled = std::fs::write(&file, vec![0_u8; 256 << 20]).unwrap_err();
        assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["--lazy", self.0.to_str().unwrap()]);
        drop(std::fs::remove_dir(&self.0));
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: this test needs root");
}

/// Posts new events until one is refused; returns the ids acknowledged.
async fn post_until_refused(gateway: &Gateway, prefix: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0..100_000 {
        let id = format!("trn:vkyc:{prefix}-{number}");
        let answer = gateway.post_vkyc(vkyc_payload(&id)).await.unwrap();
        match answer.status {
            200 => acknowledged.push(id),
            503 => {
                assert!(answer.header("retry-after").is_some());
                return acknowledged;
            }
            other => panic!("a full disk was answered {other}"),
        }
    }
    panic!("the disk never filled up");
}

async fn accepts_again(gateway: &Gateway, id: &str) {
    wait_until("commits to be taken again", RECOVERY_MAX, || async {
        let answer = gateway.post_vkyc(vkyc_payload(id)).await.unwrap();
        (answer.status == 200).then_some(())
    })
    .await
    .unwrap();
}

/// Waits until readiness is told so; the answer may be half a second old.
async fn ready(gateway: &Gateway, status: u16) {
    wait_until("readiness to change", RECOVERY_MAX, || async {
        (gateway.admin_get("/readyz").await.unwrap().status == status).then_some(())
    })
    .await
    .unwrap();
}

fn remove(file: &Path) {
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_503_and_recovers_without_a_restart() {
    let disk = SmallDisk::mount(48);
    let home = HomeBuilder::new()
        .storage("ballast = \"8MiB\"")
        .data(disk.0.clone())
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .build()
        .unwrap();
    let gateway = home.start().await.unwrap();
    accepts_again(&gateway, "trn:vkyc:first").await;
    let mut acknowledged = vec!["trn:vkyc:first".to_owned()];
    for round in 0..2 {
        let filler = disk.fill();
        acknowledged.extend(post_until_refused(&gateway, &format!("full-{round}")).await);
        // Operators and probes are served meanwhile.
        assert_eq!(gateway.admin_get("/healthz").await.unwrap().status, 200);
        ready(&gateway, 503).await;
        assert_eq!(gateway.admin_get("/metrics").await.unwrap().status, 200);
        assert_eq!(gateway.admin_get("/api/v1/requests").await.unwrap().status, 200);
        remove(&filler);
        let id = format!("trn:vkyc:after-{round}");
        accepts_again(&gateway, &id).await;
        acknowledged.push(id);
        ready(&gateway, 200).await;
    }
    gateway.until_delivered(RECOVERY_MAX).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let stored: BTreeSet<String> =
        store::accepted(&home).await.unwrap().into_iter().map(|stored| stored.id).collect();
    for id in &acknowledged {
        assert!(stored.contains(id), "{id} was acknowledged and is not stored");
    }
    println!("{} requests acknowledged over two full disks", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_on_a_full_disk_and_serves_when_there_is_room() {
    let disk = SmallDisk::mount(48);
    let home = HomeBuilder::new()
        .storage("ballast = \"8MiB\"")
        .data(disk.0.clone())
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .build()
        .unwrap();
    let gateway = home.start().await.unwrap();
    accepts_again(&gateway, "trn:vkyc:before").await;
    assert!(gateway.terminate().await.unwrap().status.success());
    let filler = disk.fill();
    let gateway = home.start().await.unwrap();
    ready(&gateway, 503).await;
    assert_eq!(gateway.post_vkyc(vkyc_payload("trn:vkyc:full")).await.unwrap().status, 503);
    remove(&filler);
    accepts_again(&gateway, "trn:vkyc:after").await;
    assert!(gateway.terminate().await.unwrap().status.success());
}
