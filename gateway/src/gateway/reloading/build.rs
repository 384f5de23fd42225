//! One attempt at the next snapshot, off the runtime.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::adapter::CacheFolder;
use crate::config::{self, Config, Fingerprint, Look, Problems, Reading};
use crate::gateway::Shared;
use crate::reload::watch::Known;
use crate::snapshot::{self, Rebuild, Snapshot};

/// What an attempt works with.
pub(super) struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) serving: Arc<Snapshot>,
    pub(super) known: Known,
    /// The bytes that are to be applied, and no others.
    pub(super) settled: Option<Fingerprint>,
    pub(super) stop: CancellationToken,
}

/// What an attempt came to.
pub(super) struct Attempted {
    /// What is to be watched from now on, and what of it is done.
    pub(super) known: Known,
    /// Whether the inputs held the same bytes before and after they were read. If not, the result
    /// means nothing.
    pub(super) steady: bool,
    pub(super) result: Result<(Snapshot, Option<CacheFolder>), Problems>,
}

impl Attempt {
    /// Reads, checks, resolves, compiles and configures.
    pub(super) fn make(self) -> Attempted {
        let Known { inputs: before, done } = &self.known;
        let found = config::read(&self.shared.main).inputs;
        let mut all = before.clone();
        all.extend(&found);
        if self.settled.is_some_and(|settled| before.fingerprint(Look::Bytes) != settled) {
            return Attempted::unsteady(Known { inputs: all, done: *done });
        }
        if self.settled.is_some() && !before.cover(&found) {
            // Files that nobody has watched: they must come to rest as well.
            return Attempted::unsteady(Known { inputs: all, done: *done });
        }
        let looked = all.fingerprint(Look::Bytes);
        let looked_found = found.fingerprint(Look::Bytes);
        let Reading { inputs, result } = config::read(&self.shared.main);
        let result = result.and_then(|config| self.build(&Arc::new(config)));
        let steady = inputs == found
            && all.fingerprint(Look::Bytes) == looked
            && self.settled.is_none_or(|settled| before.fingerprint(Look::Bytes) == settled);
        let known = match &result {
            Ok(_) => Known { inputs: found, done: looked_found },
            // One of those before may be what mends it.
            Err(_) => Known { inputs: all, done: looked },
        };
        if steady {
            Attempted { known, steady, result }
        } else {
            Attempted::unsteady(Known { done: *done, ..known })
        }
    }

    fn build(&self, config: &Arc<Config>) -> Result<(Snapshot, Option<CacheFolder>), Problems> {
        let mut problems = Problems::default();
        let (now, next) = (&self.serving.config, config);
        if now.storage.sqlite_path != next.storage.sqlite_path {
            let help = "put it back, or restart the gateway: all else is reloaded".to_owned();
            problems.push(&place(next, "storage.url"), "changes only at a restart", Some(help));
        }
        let cache = self.cache(now, next, &mut problems);
        let rebuild = Rebuild {
            serving: &self.serving,
            sandbox: &self.shared.sandbox,
            digest_key: &self.shared.digest_key,
            stop: &self.stop,
        };
        match snapshot::rebuild(Arc::clone(config), rebuild) {
            Ok(snapshot) if problems.is_empty() => Ok((snapshot, cache)),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.0.extend(more.0);
                problems.sort(&config.files);
                Err(problems)
            }
        }
    }

    fn cache(&self, now: &Config, next: &Config, problems: &mut Problems) -> Option<CacheFolder> {
        if now.plugins.cache == next.plugins.cache {
            return None;
        }
        let opened = self.shared.sandbox.open_cache(&next.plugins.cache);
        opened
            .map_err(|error| {
                let message = format!("cannot be used: {error:#}");
                problems.push(&place(next, "plugins.cache"), message, None);
            })
            .ok()
    }
}

impl Attempted {
    fn unsteady(known: Known) -> Self {
        Self { known, steady: false, result: Err(Problems::default()) }
    }
}

/// Where a key stands, or would.
pub(super) fn place(config: &Config, key: &str) -> config::Location {
    let main = || {
        let main = config.files.first().map_or(Path::new(""), |main| main.as_path());
        config::Location {
            key: key.to_owned(),
            ..config::Location::whole(Arc::new(main.to_owned()))
        }
    };
    config.sources.nearest(key).map_or_else(main, |(at, _)| at)
}
