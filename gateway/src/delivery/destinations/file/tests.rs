use std::fs;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::delivery::testing::event;

fn destination(path: &Path) -> FileDestination {
    let name = DestinationName::new("lines").unwrap();
    FileDestination::new(name, path.to_owned(), Duration::from_millis(100))
}

#[track_caller]
fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn id(number: u8) -> String {
    event(number).id.to_string()
}

#[test]
fn each_event_is_one_line_in_order_in_a_folder_made_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/events.jsonl");
    let mut file = destination(&path);
    file.append([event(1), event(2)].iter()).unwrap();
    file.append([event(3)].iter()).unwrap();
    assert_eq!(ids(&path), [id(1), id(2), id(3)]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o027, 0);
}

#[test]
fn a_rotated_and_a_removed_file_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut file = destination(&path);
    file.append([event(1)].iter()).unwrap();
    fs::rename(&path, folder.path().join("events.jsonl.1")).unwrap();
    file.append([event(2)].iter()).unwrap();
    assert_eq!(ids(&folder.path().join("events.jsonl.1")), [id(1)]);
    assert_eq!(ids(&path), [id(2)]);
    fs::remove_file(&path).unwrap();
    file.append([event(3)].iter()).unwrap();
    assert_eq!(ids(&path), [id(3)]);
}

#[test]
fn a_torn_line_of_ours_is_removed_at_opening_and_all_else_stays() {
    let whole = "{\"specversion\":\"1.0\"}\n";
    for (left, kept) in [
        ("", ""),
        ("\n", "\n"),
        (whole, whole),
        ("{", ""),
        ("{\"specver", ""),
        ("{\"specversion\":\"1.0\",\"id", ""),
        ("of another\n{\"specversion\"", "of another\n"),
        ("{\"id\":\"a", "{\"id\":\"a\n"),
        ("x", "x\n"),
        ("of another\nwithout a break", "of another\nwithout a break\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        fs::write(&path, left).unwrap();
        destination(&path).append([].iter()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), kept, "{left:?}");
    }
}

#[test]
fn a_line_begins_as_the_repair_expects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    destination(&path).append([event(1)].iter()).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(LINE_BEGINS));
}

#[test]
fn an_error_leaves_no_line_and_the_next_batch_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::create_dir(&path).unwrap();
    let mut file = destination(&path);
    assert!(file.append([event(1)].iter()).is_err());
    fs::remove_dir(&path).unwrap();
    file.append([event(2)].iter()).unwrap();
    assert_eq!(ids(&path), [id(2)]);
}

#[test]
fn a_full_disk_is_an_error() {
    let error = destination(Path::new("/dev/full")).append([event(1)].iter()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_file_that_is_deleted_while_it_is_written_to_has_kept_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut file = destination(&path);
    file.append([event(1)].iter()).unwrap();
    fs::remove_file(&path).unwrap();
    let open = file.open.take().unwrap();
    let error = open.append(b"late\n").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

/// A pipe, and its reading end where it has one.
fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    path
}

fn reader(path: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

#[test]
fn a_pipe_without_a_reader_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let mut file = destination(&path);
    let error = file.append([event(1)].iter()).unwrap_err();
    assert_eq!(error.to_string(), "nobody reads from it");
    let mut reading = reader(&path);
    file.append([event(2)].iter()).unwrap();
    drop(file);
    let text = io::read_to_string(&mut reading).unwrap();
    assert!(text.contains(&id(2)) && !text.contains(&id(1)), "{text}");
}

#[test]
fn a_pipe_that_nobody_empties_holds_up_a_batch_for_so_long_and_its_next_line_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipe(folder.path());
    let mut reading = reader(&path);
    let mut file = destination(&path);
    let many: Vec<_> = (0..2_000).map(|_| event(1)).collect();
    let error = file.append(many.iter()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let broken = io::read_to_string(&mut reading).unwrap();
    assert!(!broken.ends_with('\n'), "the pipe holds 64 KiB, which end within a line");
    file.append([event(2)].iter()).unwrap();
    drop(file);
    let next = io::read_to_string(&mut reading).unwrap();
    let line = next.strip_prefix('\n').unwrap();
    assert_eq!(serde_json::from_str::<Value>(line).unwrap()["id"], id(2));
}

proptest! {
    #[test]
    fn whatever_a_crash_leaves_the_file_is_whole_lines(
        lines in prop::collection::vec("[a-z]{0,9}", 0..5),
        torn in "[a-z]{0,9}",
        cut in any::<prop::sample::Index>(),
        far in prop::bool::weighted(0.05),
    ) {
        let whole: String = lines.iter().map(|line| format!("{line}\n")).collect();
        // Longer than one step of the search.
        let torn = if far { torn.repeat(20_000) } else { torn };
        let torn = format!("{{\"specversion\":{torn}");
        let torn = torn.get(..cut.index(torn.len() + 1)).expect("it is ASCII");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(whole.as_bytes()).unwrap();
        file.write_all(torn.as_bytes()).unwrap();
        let len = file.metadata().unwrap().len();
        let removed = repair_end(&file, len).unwrap();
        prop_assert_eq!(removed, torn.len() as u64);
        prop_assert_eq!(file.metadata().unwrap().len(), whole.len() as u64);
    }
}
