//! Events as lines of JSON in a file, on disk before they count as delivered.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

/// Pause before a pipe that is full is tried again: its reader has thousands of lines to go on with.
const PIPE_PAUSE: Duration = Duration::from_millis(5);

/// How every line of ours begins: `specversion` is the first attribute of the envelope.
const LINE_BEGINS: &[u8] = b"{\"specversion\"";

/// One `type = "file"` destination. Its methods block.
#[derive(Debug)]
pub(crate) struct FileDestination {
    name: DestinationName,
    path: PathBuf,
    /// How long a batch may take where somebody else has to read it: a pipe, a terminal.
    at_most: Duration,
    open: Option<Open>,
    buffer: Vec<u8>,
    /// The last batch broke off within a line that cannot be taken back.
    broken_off: bool,
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
    pub(crate) const fn new(name: DestinationName, path: PathBuf, at_most: Duration) -> Self {
        Self { name, path, at_most, open: None, buffer: Vec::new(), broken_off: false }
    }

    /// Appends one line an event, in one write, and waits until all are on disk; of what is no
    /// regular file, until all are handed over.
    ///
    /// # Errors
    ///
    /// Then none of the lines counts, and as far as it can be done none is in the file.
    pub(crate) fn append<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> io::Result<()> {
        self.buffer.clear();
        if self.broken_off {
            self.buffer.push(b'\n');
        }
        for event in events {
            cloudevent::write_line(event, &mut self.buffer);
        }
        let open = match self.open.take() {
            // Rotated or removed: the path leads elsewhere now.
            Some(open) if open.identity == identity_of(&self.path)? => open,
            Some(_) | None => self.reopen()?,
        };
        // After an error the file stays closed: opening it again repairs its end.
        if open.regular {
            open.append(&self.buffer)?;
        } else {
            let (written, result) = open.hand_over(&self.buffer, self.at_most);
            self.broken_off = result.is_err() && (written > 0 || self.broken_off);
            result?;
        }
        self.open = Some(open);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn reopen(&self) -> io::Result<Open> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => self.open_other(),
            Ok(_) => self.open_regular(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.open_regular(),
            Err(error) => Err(error),
        }
    }

    /// Opens what is there and no regular file. For writing alone: of a pipe that was open for
    /// reading too, nobody would notice that it has no reader. And never waits.
    fn open_other(&self) -> io::Result<Open> {
        let mut options = OpenOptions::new();
        let opened = options.write(true).custom_flags(libc::O_NONBLOCK).open(&self.path);
        let file = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::ENXIO) => io::Error::new(error.kind(), "nobody reads from it"),
            _ => error,
        })?;
        let metadata = file.metadata()?;
        Ok(Open { file, identity: (metadata.dev(), metadata.ino()), regular: false })
    }

    fn open_regular(&self) -> io::Result<Open> {
        if let Some(folder) = folder_of(&self.path) {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(FILE_MODE)
            // Should it have become a pipe by now.
            .custom_flags(libc::O_NONBLOCK)
            .open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it became another kind of file while it was opened"));
        }
        let torn = repair_end(&file, metadata.len())?;
        if torn > 0 {
            TornLineRemoved { destination: &self.name, bytes: torn }.emit();
        }
        // A new file is only there after a crash if its folder is on disk too.
        File::open(folder_of(&self.path).unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Open { file, identity: (metadata.dev(), metadata.ino()), regular: true })
    }
}

impl Open {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = (&self.file)
            .write_all(lines)
            .and_then(|()| self.file.sync_data())
            .and_then(|()| self.is_kept());
        // Somebody may have emptied it meanwhile.
        if written.is_err() && self.file.metadata().is_ok_and(|now| now.len() > before) {
            // Best effort: what stays is delivered once more, or repaired at the next opening.
            drop(self.file.set_len(before));
        }
        written
    }

    /// A file that was deleted while it was written to is gone once it is closed.
    fn is_kept(&self) -> io::Result<()> {
        if self.file.metadata()?.nlink() > 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "it was deleted while it was written to"))
    }

    /// Writes to somebody who reads. Returns how many bytes were taken, and whether all were.
    fn hand_over(&self, lines: &[u8], at_most: Duration) -> (usize, io::Result<()>) {
        let (began, mut written) = (Instant::now(), 0);
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match (&self.file).write(rest) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(taken) => written += taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if began.elapsed() >= at_most {
                        let late = "whoever reads from it does not keep up";
                        return (written, Err(io::Error::new(io::ErrorKind::TimedOut, late)));
                    }
                    std::thread::sleep(PIPE_PAUSE);
                }
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
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
mod tests;
