//! Promise 1 when the power goes: what was answered 2xx is on disk, and not in the kernel's memory.
//!
//! The gateway runs in a Linux of its own (`user-mode-linux`), on a disk whose image is a file. The
//! machine is killed, and with it everything that its kernel had not yet written; what is then in
//! the image is what a disk holds after a power cut. `it/crash.rs` cannot show that: a process that
//! is killed leaves the kernel's memory behind.
//!
//! With `--long` alone: a cut with the recovery after it takes some seconds.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_tests::provider::vkyc_event_id;
use sluice_tests::{Home, HomeBuilder, artifacts, long, store, wait_until};

use crate::random::Random;

/// Cuts of a gateway as it is, and at most so many of one that does not sync.
const CUTS: u64 = 20;
const CONTROL_CUTS: u64 = 10;

/// A boot and a start, or a recovery with its deliveries, beside other tests.
const SOON: Duration = Duration::from_secs(120);

const DISK_BYTES: u64 = 256 << 20;

/// Memory of the machine, of which the system's own share is small.
const MEMORY: &str = "mem=512M";

/// A disk of a machine, which this machine can mount while that one is off.
struct Disk {
    image: PathBuf,
    folder: tempfile::TempDir,
}

impl Disk {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.img");
        File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        fs::create_dir(folder.path().join("mounted")).unwrap();
        Self { image, folder }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mount(&self) -> Mounted {
        let folder = self.folder();
        run("mount", &["-o", "loop", self.image.to_str().unwrap(), folder.to_str().unwrap()]);
        Mounted(folder)
    }
}

/// A mounted disk; unmounted, and thereby written, when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?} (this test needs root): {text}");
}

/// A running machine. Dropping it cuts its power.
struct Machine {
    process: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Machine {
    /// Boots into `script`, with this machine's own files to read and `disk` to write.
    fn boot(disk: &Disk, script: &Path) -> Self {
        let mut process = Command::new("linux.uml")
            .args([MEMORY, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"])
            .arg(format!("init={}", script.display()))
            .arg(format!("ubda={}", disk.image.display()))
            .args(["con=null", "con0=null,fd:1"])
            // It runs what it keeps in memory, which not every folder for temporary files allows.
            .env("TMPDIR", "/dev/shm")
            // Its own group: each of its processes is one of this machine, too.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (output, lines) = (process.stdout.take().unwrap(), Arc::clone(&printed));
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                lines.lock().unwrap().push(line);
            }
        });
        Self { process, printed }
    }

    /// The ids that were answered 200.
    fn acknowledged(&self) -> BTreeSet<String> {
        let printed = self.printed.lock().unwrap();
        let ids = printed.iter().filter_map(|line| line.strip_prefix("acknowledged "));
        ids.map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(self.process.wait());
        if std::thread::panicking() {
            let printed = self.printed.lock().unwrap();
            println!("the machine printed:\n{}", printed.join("\n"));
        }
    }
}

/// What the machine runs: the gateway on its disk, and clients that post to it until the end.
fn script(home: &Home, fault: &str, prefix: &str) -> PathBuf {
    let script = home.folder().join("init");
    let text = format!(
        "#!/bin/sh\n\
         export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         mount -t proc proc /proc\n\
         mount -t tmpfs tmpfs /run\n\
         ip link set lo up\n\
         mount -t ext4 /dev/ubda '{mounted}'\n\
         cd '{home}'\n\
         SLUICE_LOG=warn SLUICE_FAULT={fault} '{gateway}' run --config sluice.toml \
         --ready-file /run/ready.json &\n\
         '{client}' /run/ready.json {prefix}\n\
         echo the load ended\n\
         sleep 600\n",
        mounted = home.data().display(),
        home = home.folder().display(),
        gateway = artifacts::gateway().unwrap().display(),
        client = artifacts::program("post_forever").unwrap().display(),
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    script
}

/// What a disk held after its power had been cut.
#[derive(Debug, Default)]
struct Found {
    acknowledged: usize,
    lost: BTreeSet<String>,
    undelivered: BTreeSet<String>,
}

/// Starts on the disk as after a power cut; then everything that is stored must be delivered.
async fn recover(home: &Home, acknowledged: &BTreeSet<String>) -> Found {
    let gateway = home.start_with(&[]).await.unwrap();
    gateway.until_delivered(SOON).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let stored = store::accepted(home).await.unwrap();
    let stored: BTreeSet<String> = stored.into_iter().map(|stored| stored.id).collect();
    let events = home.events().unwrap();
    let delivered: BTreeSet<String> =
        events.iter().map(|event| vkyc_event_id(event).unwrap().to_owned()).collect();
    Found {
        acknowledged: acknowledged.len(),
        lost: acknowledged.difference(&stored).cloned().collect(),
        undelivered: stored.difference(&delivered).cloned().collect(),
    }
}

/// Cuts the power at most so often, and no more once something is lost.
async fn cuts(at_most: u64, fault: &str) -> Found {
    let mut random = Random::new();
    let disk = Disk::make();
    let home = HomeBuilder::new()
        .storage("ballast = \"8MiB\"")
        .data(disk.folder())
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .build()
        .unwrap();
    // Compiles the adapter, which takes that machine long.
    let mounted = disk.mount();
    recover(&home, &BTreeSet::new()).await;
    drop(mounted);
    let mut all = BTreeSet::new();
    let mut found = Found::default();
    for cut in 0..at_most {
        let began = Instant::now();
        let machine = Machine::boot(&disk, &script(&home, fault, &cut.to_string()));
        let enough = usize::try_from(1 + random.below(300)).unwrap();
        wait_until("acknowledgements", SOON, || async {
            (machine.acknowledged().len() >= enough).then_some(())
        })
        .await
        .unwrap();
        let printed = Arc::clone(&machine.printed);
        drop(machine);
        let printed = printed.lock().unwrap().clone();
        all.extend(
            printed.iter().filter_map(|l| l.strip_prefix("acknowledged ")).map(str::to_owned),
        );
        let mounted = disk.mount();
        found = recover(&home, &all).await;
        drop(mounted);
        println!(
            "cut {cut} after {:?}: {} acknowledged so far, {} lost, {} not delivered",
            began.elapsed(),
            found.acknowledged,
            found.lost.len(),
            found.undelivered.len()
        );
        if !found.lost.is_empty() {
            break;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_lose_nothing_that_was_acknowledged() {
    if !long() {
        return;
    }
    let found = cuts(CUTS, "").await;
    assert!(found.acknowledged > usize::try_from(CUTS).unwrap());
    assert_eq!(found.lost, BTreeSet::new());
    assert_eq!(found.undelivered, BTreeSet::new());
}

/// The control: whoever is answered once their commit is in the kernel's memory loses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_before_its_sync_loses_something_at_a_power_cut() {
    if !long() {
        return;
    }
    let found = cuts(CONTROL_CUTS, "tell-before-sync").await;
    assert!(!found.lost.is_empty(), "{found:?}");
}
