//! Look-ups of names, of which only so many are under way.
//!
//! The system's resolver blocks a thread until it answers or gives up, and cannot be told to stop.
//! The runtime has 512 threads for all that blocks: a name whose servers are dead must not fill
//! them attempt by attempt.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Look-ups under way at once, each of which holds a thread: an eighth of those that there are.
/// A destination has one name, and so one look-up at most.
const UNDER_WAY_MAX: usize = 64;

/// How long an attempt waits for a name. Where the first name server is dead, the system asks the
/// second one after 5 s.
const WAIT_MAX: Duration = Duration::from_secs(10);

type Find = Box<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// Why there are no addresses of a name.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("the destination's name could not be resolved")]
    Failed(#[source] Arc<io::Error>),
    #[error("the destination's name was not resolved within {WAIT_MAX:?}")]
    Late,
    /// The process is ending, or the look-up panicked.
    #[error("the look-up of the destination's name broke off")]
    BrokenOff,
}

/// All look-ups of one process. Whoever asks for a name that is being looked up shares that.
pub(super) struct Lookups {
    find: Find,
    places: Arc<Semaphore>,
    under_way: Mutex<HashMap<Box<str>, watch::Receiver<Option<Found>>>>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Lookups {
    /// `find`: blocks for as long as it takes.
    pub(super) fn by(
        find: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            find: Box::new(find),
            places: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            under_way: Mutex::default(),
        }
    }

    /// The addresses of a name, of a look-up that was not over when this was called.
    ///
    /// Dropping the returned future gives up waiting; the look-up goes on, and others share it.
    pub(super) async fn find(self: Arc<Self>, name: &str) -> Result<Vec<SocketAddr>, LookupError> {
        tokio::time::timeout(WAIT_MAX, self.share(name)).await.map_err(|_| LookupError::Late)?
    }

    async fn share(self: Arc<Self>, name: &str) -> Result<Vec<SocketAddr>, LookupError> {
        let shared = self.under_way().get(name).cloned();
        let mut told = match shared {
            Some(told) => told,
            None => {
                let place = Arc::clone(&self.places).acquire_owned().await;
                self.begin(name, place.map_err(|_| LookupError::BrokenOff)?)
            }
        };
        let found = told.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.ok_or(LookupError::BrokenOff)?.map_err(LookupError::Failed)
    }

    /// Begins a look-up, or shares one that was begun while the place was waited for.
    fn begin(
        self: Arc<Self>,
        name: &str,
        place: OwnedSemaphorePermit,
    ) -> watch::Receiver<Option<Found>> {
        let (tell, told) = watch::channel(None);
        {
            let mut under_way = self.under_way();
            if let Some(told) = under_way.get(name) {
                return told.clone();
            }
            under_way.insert(name.into(), told.clone());
        }
        let under_way = UnderWay { lookups: self, name: name.into(), _place: place };
        // Nobody waits for its thread: its end is told, and whoever stops the runtime bounds it.
        drop(tokio::task::spawn_blocking(move || {
            let found = (under_way.lookups.find)(&under_way.name).map_err(Arc::new);
            // Before it is told: who asks from here on wants another look.
            drop(under_way);
            tell.send_replace(Some(found));
        }));
        told
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Box<str>, watch::Receiver<Option<Found>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look-up that is under way until this is dropped, however it ends.
struct UnderWay {
    lookups: Arc<Lookups>,
    name: Box<str>,
    _place: OwnedSemaphorePermit,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.lookups.under_way().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use tokio::task::JoinSet;

    use super::*;

    /// Long enough for any machine.
    const SOON: Duration = Duration::from_secs(20);

    #[derive(Default)]
    struct Counts {
        begun: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
    }

    /// Name servers that answer once the sender is dropped.
    fn silent() -> (Arc<Lookups>, Arc<Counts>, mpsc::Sender<()>) {
        let (answer, silence) = mpsc::channel::<()>();
        let (silence, counts) = (Mutex::new(silence), Arc::new(Counts::default()));
        let counted = Arc::clone(&counts);
        let lookups = Lookups::by(move |_| {
            counted.begun.fetch_add(1, Ordering::SeqCst);
            let now = counted.now.fetch_add(1, Ordering::SeqCst) + 1;
            counted.most.fetch_max(now, Ordering::SeqCst);
            assert!(silence.lock().unwrap().recv().is_err(), "released by dropping the other end");
            counted.now.fetch_sub(1, Ordering::SeqCst);
            Ok(vec![([127, 0, 0, 1], 0).into()])
        });
        (Arc::new(lookups), counts, answer)
    }

    /// Asks for each name, and waits until all have been asked for.
    async fn asked(
        lookups: &Arc<Lookups>,
        names: impl Iterator<Item = String>,
    ) -> JoinSet<Result<Vec<SocketAddr>, LookupError>> {
        let mut asking = JoinSet::new();
        for name in names {
            let lookups = Arc::clone(lookups);
            asking.spawn(async move { lookups.find(&name).await });
        }
        // One thread runs them in turn, and at least one each time that this task gives way.
        for _ in 0..asking.len() {
            tokio::task::yield_now().await;
        }
        asking
    }

    #[tokio::test]
    async fn all_who_ask_for_a_name_share_one_look_up() {
        let (lookups, counts, answer) = silent();
        let asking = asked(&lookups, (0..600).map(|_| "a.example".to_owned())).await;
        drop(answer);
        for found in asking.join_all().await {
            assert_eq!(found.unwrap(), [([127, 0, 0, 1], 0).into()]);
        }
        assert_eq!(counts.begun.load(Ordering::SeqCst), 1);
        lookups.find("a.example").await.unwrap();
        assert_eq!(counts.begun.load(Ordering::SeqCst), 2, "what was found is not kept");
    }

    #[tokio::test]
    async fn dead_name_servers_leave_threads_to_others() {
        // More names than there are threads.
        const NAMES: usize = 600;
        let (lookups, counts, answer) = silent();
        let asking = asked(&lookups, (0..NAMES).map(|n| format!("{n}.example"))).await;
        let other = tokio::task::spawn_blocking(|| ());
        tokio::time::timeout(SOON, other).await.expect("a thread").unwrap();
        drop(answer);
        assert!(asking.join_all().await.iter().all(Result::is_ok));
        assert_eq!(counts.begun.load(Ordering::SeqCst), NAMES);
        assert!(counts.most.load(Ordering::SeqCst) <= UNDER_WAY_MAX);
        assert!(lookups.under_way().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_long_enough_fails_and_the_next_shares_the_same_look_up() {
        let (lookups, counts, answer) = silent();
        for _ in 0..3 {
            let mut asking = asked(&lookups, std::iter::once("a.example".to_owned())).await;
            tokio::time::advance(WAIT_MAX + Duration::from_millis(1)).await;
            let late = asking.join_next().await.unwrap().unwrap();
            assert!(matches!(late, Err(LookupError::Late)), "{late:?}");
        }
        let mut asking = asked(&lookups, std::iter::once("a.example".to_owned())).await;
        drop(answer);
        asking.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(counts.begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_look_up_that_panics_is_over() {
        let lookups = Arc::new(Lookups::by(|_| panic!("as a test wants it")));
        let found = Arc::clone(&lookups).find("a.example").await;
        assert!(matches!(found, Err(LookupError::BrokenOff)), "{found:?}");
        assert!(lookups.under_way().is_empty());
        assert_eq!(lookups.places.available_permits(), UNDER_WAY_MAX);
    }
}
