//! What there is, counted where it lies.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags};

/// Counts the events in a store that no gateway uses.
///
/// # Errors
///
/// Where it cannot be read.
pub fn stored_events(database: &Path) -> anyhow::Result<u64> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("opening {}", database.display()))?;
    let events: i64 = connection
        .query_row("SELECT count(*) FROM events", [], |row| row.get(0))
        .context("counting stored events")?;
    u64::try_from(events).context("counting stored events")
}

/// Counts the lines of a growing file, reading only what is new each time.
#[derive(Debug)]
pub struct Lines {
    file: PathBuf,
    read: u64,
    lines: u64,
}

impl Lines {
    #[must_use]
    pub const fn of(file: PathBuf) -> Self {
        Self { file, read: 0, lines: 0 }
    }

    /// How many whole lines there are now; none where there is no file yet.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn count(&mut self) -> anyhow::Result<u64> {
        let mut file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).context("opening a file of events"),
        };
        file.seek(SeekFrom::Start(self.read)).context("reading a file of events")?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        loop {
            let chunk = reader.fill_buf().context("reading a file of events")?;
            if chunk.is_empty() {
                return Ok(self.lines);
            }
            let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
            let length = chunk.len();
            self.lines += u64::try_from(lines)?;
            self.read += u64::try_from(length)?;
            reader.consume(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_growing_file_is_counted_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut lines = Lines::of(path.clone());
        assert_eq!(lines.count().unwrap(), 0);
        let append = |text: &str| {
            let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("one\ntw");
        assert_eq!(lines.count().unwrap(), 1);
        append("o\nthree\n");
        assert_eq!(lines.count().unwrap(), 3);
        assert_eq!(lines.count().unwrap(), 3);
    }
}
