//! The account of a connection: what is read of it beyond what was of use is bounded, and so is how
//! many of its requests come to nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::occupants::Standing;
use super::STREAM_WINDOW;
use super::frames::Frames;
use crate::faults::Fault;

/// What a connection may send beyond what is of use: bytes, and the weight of frames. Heads, window
/// updates and pings of a sender are a few hundred bytes for each request.
const WASTE_BYTES_MAX: u64 = 512 * 1024;

/// What an answered request is worth: its head, and what was on its way of a body that nobody read.
const REQUEST_WORTH: u64 = STREAM_WINDOW as u64;

/// Requests that may come to nothing, beyond as many as were answered. A sender gives up on some.
const ABANDONED_MAX: u64 = 32;

/// What a connection has sent, and what of it was of use.
pub(super) struct Account {
    born: Instant,
    /// Bytes that were read, and the weight of their frames.
    spent: AtomicU64,
    earned: AtomicU64,
    open: AtomicUsize,
    answered: AtomicU64,
    abandoned: AtomicU64,
    /// Milliseconds from `born` to when the last request ended.
    silent_since: AtomicU64,
    /// Reading on was refused, because it was overdrawn.
    refused: AtomicBool,
}

impl Account {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            spent: AtomicU64::new(0),
            earned: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            silent_since: AtomicU64::new(0),
            refused: AtomicBool::new(false),
        }
    }

    fn spend(&self, bytes: u64) {
        self.spent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn earn(&self, bytes: u64) {
        self.earned.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether it is what ended the connection. That it is overdrawn says less: where a sender goes
    /// away, all its requests come to nothing at once, on other threads.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn is_overdrawn(&self) -> bool {
        if Fault::KeepNoAccount.is_on() {
            return false;
        }
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        get(&self.spent) > get(&self.earned) + WASTE_BYTES_MAX
            || get(&self.abandoned) > get(&self.answered) + ABANDONED_MAX
    }

    /// # Errors
    ///
    /// Where it is overdrawn.
    fn check(&self) -> io::Result<()> {
        if self.is_overdrawn() {
            self.refused.store(true, Ordering::Relaxed);
            return Err(io::Error::other("more was sent than is of use"));
        }
        Ok(())
    }

    /// How long no request has been open, and whether one ever was; none while one is.
    pub(super) fn silence(&self) -> Option<(Duration, bool)> {
        let since = self.silent_since()?;
        let served = self.answered.load(Ordering::Relaxed) + self.abandoned.load(Ordering::Relaxed);
        Some((since.elapsed(), served > 0))
    }

    pub(super) fn restart_silence(&self) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.silent_since.store(millis, Ordering::Relaxed);
    }
}

impl Standing for Account {
    fn silent_since(&self) -> Option<Instant> {
        let is_silent = self.open.load(Ordering::Relaxed) == 0;
        let since = Duration::from_millis(self.silent_since.load(Ordering::Relaxed));
        is_silent.then(|| self.born + since)
    }
}

/// A request that is being served.
pub(super) struct Begun<'a> {
    account: &'a Account,
    answered: bool,
}

impl<'a> Begun<'a> {
    pub(super) fn new(account: &'a Account) -> Self {
        account.open.fetch_add(1, Ordering::Relaxed);
        Self { account, answered: false }
    }

    /// It was answered.
    pub(super) fn end(mut self) {
        self.answered = true;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let Self { account, answered } = self;
        if *answered {
            account.earn(REQUEST_WORTH);
            account.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            account.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        account.restart_silence();
        account.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that earns what is read of it, twice: its frames have heads.
pub(super) struct Useful<'a> {
    body: Incoming,
    account: &'a Account,
}

impl<'a> Useful<'a> {
    pub(super) const fn new(body: Incoming, account: &'a Account) -> Self {
        Self { body, account }
    }
}

impl Body for Useful<'_> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.account.earn(2 * data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that is read for as long as its account allows it.
pub(super) struct Metered<S> {
    stream: S,
    account: Arc<Account>,
    frames: Frames,
    /// Nothing more comes.
    ended: bool,
}

impl<S> Metered<S> {
    pub(super) const fn new(stream: S, account: Arc<Account>) -> Self {
        Self { stream, account, frames: Frames::new(), ended: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, account, frames, ended } = self.get_mut();
        if *ended {
            return Poll::Ready(Ok(()));
        }
        account.check()?;
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        if read.is_empty() && room > 0 {
            *ended = true;
            return Poll::Ready(Ok(()));
        }
        account.spend(read.len() as u64 + frames.weigh(read));
        // At once: none of what is too much is handled.
        Poll::Ready(account.check())
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_waste_so_much_and_what_is_of_use_is_no_waste() {
        let account = Account::new();
        account.spend(WASTE_BYTES_MAX);
        assert!(!account.is_overdrawn());
        account.spend(1);
        assert!(account.is_overdrawn());
        account.earn(1);
        assert!(!account.is_overdrawn());
        Begun::new(&account).end();
        account.spend(REQUEST_WORTH);
        assert!(!account.is_overdrawn());
    }

    #[test]
    fn a_sender_may_give_up_on_some_of_its_requests_and_not_on_most() {
        let account = Account::new();
        for _ in 0..ABANDONED_MAX {
            drop(Begun::new(&account));
        }
        assert!(!account.is_overdrawn());
        drop(Begun::new(&account));
        assert!(account.is_overdrawn());
        account.answered.fetch_add(1, Ordering::Relaxed);
        assert!(!account.is_overdrawn());
    }
}
