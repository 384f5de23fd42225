//! What a client remembers of its requests, and what must therefore be true of the gateway.
//!
//! A request is entered before it is sent, and its outcome after it was answered; both reach the
//! disk at once, so that the ledger also survives the power cut that it witnesses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::destination::now;

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered 2xx.
    Acknowledged,
    /// Answered something else.
    Refused,
    /// Not answered: it may have been taken or not.
    Unknown,
}

impl Outcome {
    /// What an answer, or none, means.
    #[must_use]
    pub const fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => Self::Acknowledged,
            Some(_) => Self::Refused,
            None => Self::Unknown,
        }
    }
}

/// SHA-256 of a body.
pub type Digest = [u8; 32];

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
enum Line {
    Sending { id: String, sha256: String, at_ms: u64 },
    Ended { id: String, outcome: Outcome },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sha256: Digest,
    outcome: Outcome,
}

/// The ledger of one client, for use by many tasks.
#[derive(Debug)]
pub struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    entries: BTreeMap<String, Entry>,
}

/// A request as the gateway has stored it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The provider's own id, by which the ledger knows it.
    pub id: String,
    pub sha256: Digest,
}

/// Where gateway and ledger disagree, by id. All lists are empty where it did its duty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Requests that were acknowledged.
    pub acknowledged: usize,
    /// Requests without an answer that were stored: allowed.
    pub unknown_stored: usize,
    /// Acknowledged, and not stored.
    pub lost: BTreeSet<String>,
    /// Stored, and not delivered.
    pub undelivered: BTreeSet<String>,
    /// Stored with another body than was sent.
    pub corrupt: BTreeSet<String>,
    /// Stored more than once.
    pub stored_again: BTreeSet<String>,
    /// Delivered more than once. Allowed where the gateway was killed, see
    /// [`Audit::assert_nothing_lost`].
    pub delivered_again: BTreeSet<String>,
    /// Delivered, and not stored.
    pub phantom: BTreeSet<String>,
    /// Refused, or never sent, and stored all the same.
    pub unwanted: BTreeSet<String>,
}

impl Ledger {
    /// Begins a ledger in a new file.
    ///
    /// # Errors
    ///
    /// Where the file exists or cannot be made.
    pub fn create(file: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(file)
            .with_context(|| format!("making {}", file.display()))?;
        Ok(Self { inner: Mutex::new(Inner { file, entries: BTreeMap::new() }) })
    }

    /// Enters a request that is about to be sent. Blocks for a disk write.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written: then do not send it.
    pub fn sending(&self, id: &str, body: &[u8]) -> anyhow::Result<()> {
        let sha256 = digest(body);
        let at_ms = now().duration_since(std::time::UNIX_EPOCH)?.as_millis().try_into()?;
        let line = Line::Sending { id: id.to_owned(), sha256: hex::encode(sha256), at_ms };
        let mut inner = self.lock();
        inner.write(&line)?;
        inner.entries.insert(id.to_owned(), Entry { sha256, outcome: Outcome::Unknown });
        Ok(())
    }

    /// Enters how a request ended. Blocks for a disk write.
    ///
    /// # Errors
    ///
    /// Where it was never entered, or the file cannot be written.
    pub fn ended(&self, id: &str, outcome: Outcome) -> anyhow::Result<()> {
        let mut inner = self.lock();
        inner.write(&Line::Ended { id: id.to_owned(), outcome })?;
        inner.entries.get_mut(id).with_context(|| format!("`{id}` was never sent"))?.outcome =
            outcome;
        Ok(())
    }

    /// How many requests ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.lock().entries.values().filter(|entry| entry.outcome == outcome).count()
    }

    /// Compares with what the gateway stored, and with the ids of every event that arrived at the
    /// destination, after it has had time to deliver all.
    #[must_use]
    pub fn audit(&self, stored: &[Stored], delivered: &[String]) -> Audit {
        audit(&self.lock().entries, stored, delivered)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text).context("writing the ledger")?;
        self.file.sync_data().context("writing the ledger")
    }
}

impl Audit {
    /// Asserts that nothing was lost, altered or invented. What was delivered again passes: a
    /// gateway that dies between an attempt and its record must make the attempt again.
    ///
    /// # Panics
    ///
    /// Where it was; with everything found.
    pub fn assert_nothing_lost(&self) {
        let allowed = Self {
            acknowledged: self.acknowledged,
            unknown_stored: self.unknown_stored,
            delivered_again: self.delivered_again.clone(),
            ..Self::default()
        };
        assert_eq!(*self, allowed, "the gateway and the client's ledger disagree");
    }

    /// Asserts the same, and that nothing was delivered twice: for runs in which nothing failed.
    ///
    /// # Panics
    ///
    /// Where the gateway and the ledger disagree; with everything found.
    pub fn assert_exact(&self) {
        self.assert_nothing_lost();
        assert_eq!(self.delivered_again, BTreeSet::new(), "delivered again without a fault");
    }
}

fn audit(entries: &BTreeMap<String, Entry>, stored: &[Stored], delivered: &[String]) -> Audit {
    let mut found = Audit::default();
    let mut stored_ids = BTreeSet::new();
    for Stored { id, sha256 } in stored {
        if !stored_ids.insert(id.as_str()) {
            found.stored_again.insert(id.clone());
        }
        match entries.get(id) {
            None | Some(Entry { outcome: Outcome::Refused, .. }) => {
                found.unwanted.insert(id.clone());
            }
            Some(entry) if entry.sha256 != *sha256 => {
                found.corrupt.insert(id.clone());
            }
            Some(_) => {}
        }
    }
    let mut delivered_ids = BTreeSet::new();
    for id in delivered {
        if !delivered_ids.insert(id.as_str()) {
            found.delivered_again.insert(id.clone());
        }
        if !stored_ids.contains(id.as_str()) {
            found.phantom.insert(id.clone());
        }
    }
    found.undelivered = stored_ids.difference(&delivered_ids).map(|id| (*id).to_owned()).collect();
    for (id, entry) in entries {
        let is_stored = stored_ids.contains(id.as_str());
        match entry.outcome {
            Outcome::Acknowledged => {
                found.acknowledged += 1;
                if !is_stored {
                    found.lost.insert(id.clone());
                }
            }
            Outcome::Unknown if is_stored => found.unknown_stored += 1,
            Outcome::Unknown | Outcome::Refused => {}
        }
    }
    found
}

/// SHA-256 of a body.
#[must_use]
pub fn digest(body: &[u8]) -> Digest {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, body).as_ref());
    sha256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(outcomes: &[(&str, Option<u16>)]) -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(&folder.path().join("ledger")).unwrap();
        for (id, status) in outcomes {
            ledger.sending(id, id.as_bytes()).unwrap();
            ledger.ended(id, Outcome::of(*status)).unwrap();
        }
        (folder, ledger)
    }

    fn stored(ids: &[&str]) -> Vec<Stored> {
        ids.iter()
            .map(|id| Stored { id: (*id).to_owned(), sha256: digest(id.as_bytes()) })
            .collect()
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn a_faultless_run_is_exact_and_unknowns_may_go_either_way() {
        let (_folder, ledger) =
            ledger(&[("a", Some(200)), ("b", Some(503)), ("c", None), ("d", None)]);
        let audit = ledger.audit(&stored(&["a", "c"]), &ids(&["c", "a"]));
        audit.assert_exact();
        assert_eq!((audit.acknowledged, audit.unknown_stored), (1, 1));
        assert_eq!(ledger.count(Outcome::Unknown), 2);
    }

    #[test]
    fn every_disagreement_is_found_and_named() {
        let (_folder, ledger) = ledger(&[("a", Some(200)), ("b", Some(401)), ("c", Some(200))]);
        let check = |stored: &[Stored], delivered: &[&str], expected: Audit| {
            let audit = ledger.audit(stored, &ids(delivered));
            assert_eq!(audit, Audit { acknowledged: 2, ..expected });
            assert!(std::panic::catch_unwind(|| audit.assert_exact()).is_err());
        };
        check(&stored(&["a"]), &["a"], Audit { lost: set(&["c"]), ..Audit::default() });
        check(&stored(&["a", "c"]), &["a"], Audit { undelivered: set(&["c"]), ..Audit::default() });
        check(
            &stored(&["a", "c", "c"]),
            &["a", "c"],
            Audit { stored_again: set(&["c"]), ..Audit::default() },
        );
        check(
            &stored(&["a", "c"]),
            &["a", "c", "a"],
            Audit { delivered_again: set(&["a"]), ..Audit::default() },
        );
        check(
            &stored(&["a", "b", "c"]),
            &["a", "b", "c"],
            Audit { unwanted: set(&["b"]), ..Audit::default() },
        );
        check(
            &stored(&["a", "c"]),
            &["a", "c", "x"],
            Audit { phantom: set(&["x"]), ..Audit::default() },
        );
        let mut altered = stored(&["a", "c"]);
        altered[0].sha256 = digest(b"other");
        check(&altered, &["a", "c"], Audit { corrupt: set(&["a"]), ..Audit::default() });
    }

    #[test]
    fn the_file_tells_what_was_sent_and_how_it_ended() {
        let (folder, ledger) = ledger(&[("a", Some(200))]);
        assert!(ledger.ended("never", Outcome::Refused).is_err());
        let text = std::fs::read_to_string(folder.path().join("ledger")).unwrap();
        let lines: Vec<Line> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(matches!(&lines[0], Line::Sending { id, .. } if id == "a"));
        assert!(matches!(&lines[1], Line::Ended { outcome: Outcome::Acknowledged, .. }), "{text}");
    }
}
