use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tokio::task::JoinSet;

use super::*;
use crate::reload::Ask;
use crate::reload::settle::REST;

/// No wish comes this late.
const LATE: Duration = Duration::from_secs(30);

/// A watcher at work on a folder with a main file and a folder of included files.
struct Bench {
    folder: tempfile::TempDir,
    inputs: Inputs,
    known: watch::Sender<Known>,
    asks: mpsc::Receiver<Ask>,
    shutdown: CancellationToken,
    running: JoinSet<()>,
}

impl Bench {
    async fn start(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("routes")).unwrap();
        fs::write(folder.path().join("sluice.toml"), "a = 1").unwrap();
        prepare(folder.path());
        let mut inputs = Inputs::of_main(&folder.path().join("sluice.toml"));
        inputs.add_pattern(&folder.path().join("routes"), "*.toml");
        inputs.add_file(&folder.path().join("later/secret"));
        let done = inputs.fingerprint(Look::Bytes);
        let known = watch::Sender::new(Known { inputs: inputs.clone(), done });
        let (reloads, asks) = Reloads::new();
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(run(known.subscribe(), reloads, shutdown.clone()));
        let mut bench = Self { folder, inputs, known, asks, shutdown, running };
        // It watches when it has seen a first change.
        fs::write(bench.at("routes/first.toml"), "").unwrap();
        bench.asked_and_done().await;
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn asked(&mut self) -> Fingerprint {
        let ask = timeout(LATE, self.asks.recv()).await.expect("a wish in time").unwrap();
        let AskKind::Files(settled) = ask.kind else { panic!("{ask:?}") };
        settled
    }

    /// Takes the next wish, checks that it is for what lies there, and says that it is done.
    async fn asked_and_done(&mut self) {
        let settled = self.asked().await;
        assert_eq!(settled, self.inputs.fingerprint(Look::Bytes));
        self.known.send_replace(Known { inputs: self.inputs.clone(), done: settled });
    }

    /// No wish comes for twice as long as files rest.
    async fn not_asked(&mut self) {
        let asked = timeout(REST * 2, self.asks.recv()).await;
        assert!(asked.is_err(), "{asked:?}");
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        timeout(LATE, self.running.join_next()).await.expect("an end in time").unwrap().unwrap();
    }
}

#[tokio::test]
async fn each_way_to_change_a_file_is_seen_once() {
    let mut bench = Bench::start(|_| ()).await;
    let main = bench.at("sluice.toml");

    fs::write(&main, "a = 2").unwrap();
    bench.asked_and_done().await;

    fs::write(bench.at("sluice.toml.new"), "a = 3").unwrap();
    fs::rename(bench.at("sluice.toml.new"), &main).unwrap();
    bench.asked_and_done().await;

    fs::write(bench.at("routes/second.toml"), "b = 1").unwrap();
    bench.asked_and_done().await;

    fs::remove_file(bench.at("routes/second.toml")).unwrap();
    bench.asked_and_done().await;

    fs::set_permissions(&main, fs::Permissions::from_mode(0o600)).unwrap();
    bench.asked_and_done().await;

    // What is none of its inputs, or ends as it was, is no wish.
    fs::write(bench.at("other.toml"), "c = 1").unwrap();
    fs::write(bench.at("routes/.hidden.toml"), "c = 1").unwrap();
    fs::write(&main, "a = 4").unwrap();
    fs::write(&main, "a = 3").unwrap();
    bench.not_asked().await;
    bench.stop().await;
}

#[tokio::test]
async fn the_swap_of_a_mounted_config_map_is_seen() {
    let mut bench = Bench::start(|folder| {
        for version in ["..1", "..2", "..3"] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("sluice.toml"), version).unwrap();
        }
        fs::remove_file(folder.join("sluice.toml")).unwrap();
        symlink("..1", folder.join("..data")).unwrap();
        symlink("..data/sluice.toml", folder.join("sluice.toml")).unwrap();
    })
    .await;
    for version in ["..2", "..3"] {
        symlink(version, bench.at("..data_tmp")).unwrap();
        fs::rename(bench.at("..data_tmp"), bench.at("..data")).unwrap();
        bench.asked_and_done().await;
    }
    // What the link points to now is watched as well.
    fs::write(bench.at("..3/sluice.toml"), "in place").unwrap();
    bench.asked_and_done().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_file_written_in_two_steps_is_asked_for_whole() {
    let mut bench = Bench::start(|_| ()).await;
    for round in 0..5 {
        fs::write(bench.at("sluice.toml"), format!("a = {round}")).unwrap();
        // The writer's own pause: nothing waits for anything here.
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::write(bench.at("sluice.toml"), format!("a = {round}\nb = {round}")).unwrap();
        bench.asked_and_done().await;
    }
    bench.not_asked().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_file_that_is_still_open_for_writing_waits_for_its_close() {
    let mut bench = Bench::start(|_| ()).await;
    let mut file = OpenOptions::new().append(true).open(bench.at("sluice.toml")).unwrap();
    file.write_all(b"\nb = 2").unwrap();
    bench.not_asked().await;
    file.write_all(b"\nc = 3").unwrap();
    bench.not_asked().await;
    drop(file);
    bench.asked_and_done().await;
    bench.stop().await;
}

#[tokio::test]
async fn what_changed_while_a_wish_was_carried_out_is_wished_for_next() {
    let mut bench = Bench::start(|_| ()).await;
    fs::write(bench.at("sluice.toml"), "a = 2").unwrap();
    let settled = bench.asked().await;
    fs::write(bench.at("sluice.toml"), "a = 3").unwrap();
    bench.not_asked().await;
    bench.known.send_replace(Known { inputs: bench.inputs.clone(), done: settled });
    bench.asked_and_done().await;

    // One that was given up, because the bytes changed under it, comes again.
    fs::write(bench.at("sluice.toml"), "a = 4").unwrap();
    let done = bench.known.borrow().done;
    bench.asked().await;
    bench.known.send_replace(Known { inputs: bench.inputs.clone(), done });
    bench.asked_and_done().await;
    bench.stop().await;
}

#[tokio::test]
async fn what_no_watch_tells_of_is_found_by_looking() {
    let mut bench = Bench::start(|_| ()).await;
    // Its folder was not there to be watched.
    fs::create_dir(bench.at("later")).unwrap();
    fs::write(bench.at("later/secret"), "s").unwrap();
    bench.asked_and_done().await;
    bench.stop().await;
}

#[test]
fn events_that_are_lost_or_too_many_make_a_look_at_everything() {
    let (to, mut events) = mpsc::channel(1);
    let mut inputs = Inputs::default();
    inputs.add_file(Path::new("/f/a"));
    let filter =
        Filter { watched: ArcSwap::from_pointee(inputs.watched()), lost: AtomicBool::new(false) };
    let event = |kind, path: &str| Ok(notify::Event::new(kind).add_path(path.into()));
    let modified = EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any));
    filter.pass(event(modified, "/f/b"), &to);
    filter.pass(event(EventKind::Access(AccessKind::Read), "/f/a"), &to);
    assert!(events.try_recv().is_err(), "nothing of that concerns an input");
    filter.pass(event(modified, "/f/a"), &to);
    filter.pass(event(modified, "/f/a"), &to);
    assert!(filter.lost.load(Ordering::Relaxed), "there was room for one");
    assert_eq!(events.try_recv(), Ok(Seen::Written("/f/a".into())));

    let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
    filter.pass(Ok(overflow), &to);
    assert_eq!(events.try_recv(), Ok(Seen::Lost));
    filter.lost.store(false, Ordering::Relaxed);
    filter.pass(Err(notify::Error::generic("read")), &to);
    assert!(filter.lost.load(Ordering::Relaxed));
}
