//! Events as lines of JSON in a file, on disk before they count as delivered.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::delivery::cloudevent;
use crate::model::{DestinationName, Event};
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::TornLineRemoved;

/// Mode of a new file: events hold personal data, and a group may be let in to read them.
const FILE_MODE: u32 = 0o640;

/// Largest buffer that is kept from one batch to the next, in bytes. A batch is usually well below
/// it; one of unusually large events gives its memory back.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// Bytes looked at in one step when the end of the last whole line is searched.
const SEARCH_STEP: u64 = 64 * 1024;

/// How every line of ours begins: `specversion` is the first attribute of the envelope.
const LINE_BEGINS: &[u8] = b"{\"specversion\"";

/// One `type = "file"` destination. Its methods block.
#[derive(Debug)]
pub(crate) struct FileDestination {
    name: DestinationName,
    path: PathBuf,
    open: Option<Open>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and number of the file, to see when the path leads to another.
    identity: (u64, u64),
    /// A regular file, which can be measured and cut; not a pipe or a terminal.
    regular: bool,
}

impl FileDestination {
    pub(crate) const fn new(name: DestinationName, path: PathBuf) -> Self {
        Self { name, path, open: None, buffer: Vec::new() }
    }

    /// Appends one line an event, in one write, and waits until all are on disk.
    ///
    /// # Errors
    ///
    /// Then none of the lines counts, and as far as it can be done none is in the file.
    pub(crate) fn append<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> io::Result<()> {
        self.buffer.clear();
        for event in events {
            cloudevent::write_line(event, &mut self.buffer);
        }
        let open = match self.open.take() {
            // Rotated or removed: the path leads elsewhere now.
            Some(open) if open.identity == identity_of(&self.path)? => open,
            Some(_) | None => self.reopen()?,
        };
        // After an error the file stays closed: opening it again repairs its end.
        open.append(&self.buffer)?;
        self.open = Some(open);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn reopen(&self) -> io::Result<Open> {
        if let Some(folder) = folder_of(&self.path) {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(FILE_MODE)
            .open(&self.path)?;
        let metadata = file.metadata()?;
        let regular = metadata.is_file();
        if regular {
            let torn = repair_end(&file, metadata.len())?;
            if torn > 0 {
                TornLineRemoved { destination: &self.name, bytes: torn }.emit();
            }
            // A new file is only there after a crash if its folder is on disk too.
            File::open(folder_of(&self.path).unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(Open { file, identity: (metadata.dev(), metadata.ino()), regular })
    }
}

impl Open {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = (&self.file).write_all(lines).and_then(|()| self.sync());
        if written.is_err() && self.regular {
            // Best effort: what stays is delivered once more, or repaired at the next opening.
            drop(self.file.set_len(before));
        }
        written
    }

    fn sync(&self) -> io::Result<()> {
        if self.regular { self.file.sync_data() } else { Ok(()) }
    }
}

/// Device and number of what `path` leads to; zeros where there is nothing.
fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, 0)),
        Err(error) => Err(error),
    }
}

/// The folder that holds `path`, where it names one.
fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// Makes the file end in a line break. What stands after the last one is cut where it begins like a
/// line of ours: a write that a crash interrupted, whose deliveries were never recorded and come
/// again. Anything else somebody else wrote: it stays, as a line of its own. Returns how many bytes
/// were cut.
fn repair_end(mut file: &File, len: u64) -> io::Result<u64> {
    let end = end_of_whole_lines(file, len)?;
    if end == len {
        return Ok(0);
    }
    let torn = len - end;
    let mut begins = [0; LINE_BEGINS.len()];
    let known = begins.len().min(usize::try_from(torn).unwrap_or(usize::MAX));
    let begins = begins.get_mut(..known).unwrap_or_default();
    file.read_exact_at(begins, end)?;
    let ours = LINE_BEGINS.starts_with(begins);
    if ours {
        file.set_len(end)?;
    } else {
        file.write_all(b"\n")?;
    }
    file.sync_data()?;
    Ok(if ours { torn } else { 0 })
}

/// Where the last whole line of the first `len` bytes ends.
fn end_of_whole_lines(file: &File, len: u64) -> io::Result<u64> {
    let mut end = len;
    let mut window = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(SEARCH_STEP);
        window.resize(usize::try_from(end - start).map_err(io::Error::other)?, 0);
        file.read_exact_at(&mut window, start)?;
        if let Some(at) = window.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + u64::try_from(at).map_err(io::Error::other)? + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::delivery::testing::event;

    fn destination(path: &Path) -> FileDestination {
        FileDestination::new(DestinationName::new("lines").unwrap(), path.to_owned())
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
}
