//! Threads that read, each with a connection of its own, beside the writer.

use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::failure::question;
use super::open::{OpenError, reader};
use crate::storage::StorageError;

/// Page cache of each: what is read here is mostly read once.
const CACHE_KIB: u32 = 512;

/// Questions that wait for a thread.
const WAITING_MAX: usize = 64;

/// How long one question may take. A reader that stays in one view of the database keeps its log
/// from being reused.
const QUESTION_MAX: Duration = Duration::from_secs(5);

/// Virtual-machine steps between two looks at the time: some hundred microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 20_000;

/// Given the error instead of a connection where there is none.
type Question = Box<dyn FnOnce(Result<&Connection, StorageError>) + Send>;

/// Whether connections are opened at once, or at the first question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Now,
    /// The disk is so full that the store may not be readable.
    Later,
}

/// A few threads that answer questions in turn.
#[derive(Debug)]
pub(super) struct Readers {
    questions: Mutex<Option<Sender<Question>>>,
    places: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn start(
        path: &Path,
        name: &str,
        count: usize,
        open: Open,
    ) -> Result<Self, OpenError> {
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::with_capacity(count);
        for _ in 0..count {
            let connection = match open {
                Open::Now => Some(reader(path, CACHE_KIB)?),
                Open::Later => None,
            };
            let (path, receiver) = (path.to_owned(), Arc::clone(&receiver));
            let thread = thread::Builder::new()
                .name(format!("storage-{name}"))
                .spawn(move || serve(&path, connection, &receiver));
            threads.push(thread.map_err(|error: io::Error| OpenError::Thread(error))?);
        }
        Ok(Self {
            questions: Mutex::new(Some(sender)),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            threads: Mutex::new(threads),
        })
    }

    /// Asks a question; it is answered even where the returned future is dropped.
    pub(super) async fn ask<T, F>(&self, question_: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let place = Arc::clone(&self.places);
        let place = place.acquire_owned().await.map_err(|_| StorageError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let run: Question = Box::new(move |connection| {
            let answer = connection
                .and_then(|connection| question_(connection).map_err(|error| question(&error)));
            drop(place);
            // Whoever asked may have given up.
            drop(reply.send(answer));
        });
        {
            let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = questions.as_ref().map(|questions| questions.send(run));
            let Some(Ok(())) = sent else { return Err(StorageError::Closed) };
        }
        answer.await.map_err(|_| StorageError::Closed)?
    }

    /// Takes no further question; the threads end after those they have.
    pub(super) fn close(&self) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.places.close();
    }

    /// As [`Self::close`]; returns the threads, to be waited for.
    pub(super) fn end(&self) -> Vec<JoinHandle<()>> {
        self.close();
        std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(path: &Path, mut connection: Option<Connection>, questions: &Mutex<Receiver<Question>>) {
    loop {
        // One thread waits in `recv`, the others for the lock: either way one gets the next.
        let next = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(question) = next else { return };
        if connection.is_none() {
            connection = match reader(path, CACHE_KIB) {
                Ok(opened) => Some(opened),
                Err(error) => {
                    question(Err(StorageError::Failed { detail: error.to_string() }));
                    continue;
                }
            };
        }
        let Some(connection) = &mut connection else { continue };
        let began = Instant::now();
        let late = move || began.elapsed() > QUESTION_MAX;
        if let Err(error) = connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(late)) {
            tracing::error!(%error, "A question to the store runs without a time limit.");
        }
        question(Ok(connection));
    }
}
