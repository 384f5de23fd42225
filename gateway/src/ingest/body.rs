//! Reading a request body within its bounds of size, time and rate.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, timeout_at};

use super::admission::{Share, Unfinished};

/// Until then a body may be as slow as it likes: `body_rate_min` counts after it.
const RATE_GRACE: Duration = Duration::from_secs(1);

/// Most that is set aside at once for a body on the word of its sender.
const RESERVED_BYTES_MAX: u64 = 64 * 1024;

/// The bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Largest size accepted, in bytes.
    pub(super) size_max: usize,
    pub(super) started: Instant,
    /// From `started` to the last byte.
    pub(super) deadline: Duration,
    /// Bytes per second after [`RATE_GRACE`]; 0 for any.
    pub(super) rate_min: usize,
}

impl Bounds {
    /// When the next byte is due if `received` have come: at the deadline, or when those no
    /// longer make up the least rate.
    fn due(&self, received: usize) -> Instant {
        let end = self.started + self.deadline;
        if self.rate_min == 0 {
            return end;
        }
        let (received, rate) = (received as u64, self.rate_min as u64);
        let earned = Duration::from_millis(received.saturating_mul(1_000) / rate);
        end.min(self.started + RATE_GRACE + earned)
    }
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// Declared or found to be larger than it may be.
    TooLarge,
    TooSlow,
    /// It did not come with its head, and its client has as many of that kind as it may.
    TooMany,
    /// Bad framing, or it ended early.
    Broken,
}

/// Reads a whole body. Nothing is read of one that declares too large a size, and of others at
/// most one frame beyond the bound. Who waits for more of it does so within the client's `share`.
///
/// Cancel safe: a dropped call has read part of the body and nothing else.
pub(super) async fn read<B>(
    mut body: B,
    bounds: Bounds,
    share: Share<'_>,
) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > bounds.size_max as u64 {
        return Err(BodyFault::TooLarge);
    }
    let mut whole = Whole::default();
    let mut waiting = None;
    while let Some(frame) = next(&mut body, bounds.due(whole.len()), share, &mut waiting).await? {
        // Trailers are nobody's concern.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bounds.size_max.saturating_sub(whole.len()) {
            return Err(BodyFault::TooLarge);
        }
        whole.push(data, body.size_hint().lower());
    }
    Ok(whole.into_bytes())
}

async fn next<'s, B>(
    body: &mut B,
    due: Instant,
    share: Share<'s>,
    waiting: &mut Option<Unfinished<'s>>,
) -> Result<Option<Frame<Bytes>>, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    // Most bodies arrive with their heads; only those that do not cost a timer, and are counted.
    let ready = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    let frame = match ready {
        Poll::Ready(frame) => frame,
        Poll::Pending => {
            if waiting.is_none() {
                *waiting = Some(share.take().ok_or(BodyFault::TooMany)?);
            }
            timeout_at(due, body.frame()).await.map_err(|_| BodyFault::TooSlow)?
        }
    };
    frame.transpose().map_err(|_| BodyFault::Broken)
}

/// The parts of a body; a single one is passed on without a copy.
#[derive(Default)]
struct Whole {
    first: Bytes,
    joined: BytesMut,
}

impl Whole {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// `coming`: bytes that are known to follow.
    fn push(&mut self, data: Bytes, coming: u64) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.joined.is_empty() {
            let coming = usize::try_from(coming.min(RESERVED_BYTES_MAX)).unwrap_or_default();
            self.joined.reserve(self.first.len() + data.len() + coming);
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::task::Context;

    use http_body_util::Full;
    use proptest::prelude::*;

    use super::super::admission::Bodies;
    use super::*;

    fn bounds(size_max: usize) -> Bounds {
        let deadline = Duration::from_secs(30);
        Bounds { size_max, started: Instant::now(), deadline, rate_min: 1024 }
    }

    /// What it holds, at once; then the end, or silence.
    struct Scripted {
        frames: VecDeque<io::Result<Bytes>>,
        ends: bool,
    }

    impl Body for Scripted {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            match self.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(frame.map(Frame::data))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn run(body: impl Body<Data = Bytes> + Unpin, bounds: Bounds) -> Result<Bytes, BodyFault> {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(read(
            body,
            bounds,
            Share::new(&Bodies::default(), client(), 8),
        ))
    }

    fn client() -> std::net::IpAddr {
        [192, 0, 2, 1].into()
    }

    #[test]
    fn a_declared_size_is_judged_before_a_byte_is_read() {
        let fits = Full::new(Bytes::from_static(b"12345"));
        assert_eq!(run(fits.clone(), bounds(5)).unwrap(), "12345");
        assert_eq!(run(fits, bounds(4)), Err(BodyFault::TooLarge));
    }

    #[test]
    fn a_single_frame_is_not_copied() {
        let sent = Bytes::from(vec![7; 100]);
        let got = run(Full::new(sent.clone()), bounds(100)).unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
    }

    #[test]
    fn a_body_that_breaks_or_stops_is_told_apart() {
        let frame = || Ok(Bytes::from_static(b"x"));
        let broken = VecDeque::from([frame(), Err(io::Error::other("cut"))]);
        let broken = Scripted { frames: broken, ends: true };
        assert_eq!(run(broken, bounds(10)), Err(BodyFault::Broken));

        let silent = Scripted { frames: VecDeque::from([frame()]), ends: false };
        let brief = Bounds { deadline: Duration::from_millis(20), ..bounds(10) };
        assert_eq!(run(silent, brief), Err(BodyFault::TooSlow));
    }

    #[test]
    fn only_a_body_that_is_waited_for_takes_of_its_clients_share() {
        let (bodies, frame) = (Bodies::default(), || Ok(Bytes::from_static(b"x")));
        // All that the client may have are taken.
        let share = Share::new(&bodies, client(), 16);
        let taken: Vec<_> = (0..8).map_while(|_| share.take()).collect();
        assert_eq!(taken.len(), 8);
        let read = |ends| {
            let body = Scripted { frames: VecDeque::from([frame()]), ends };
            let brief = Bounds { deadline: Duration::from_millis(20), ..bounds(10) };
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap()
                .block_on(read(body, brief, share))
        };
        assert_eq!(read(true).unwrap(), "x");
        assert_eq!(read(false), Err(BodyFault::TooMany));
        drop(taken);
        assert_eq!(read(false), Err(BodyFault::TooSlow));
        assert_eq!(bodies.waiting(), 0);
    }

    #[test]
    fn the_next_byte_is_due_by_rate_and_never_after_the_deadline() {
        let bounds = bounds(usize::MAX);
        let after = |received| bounds.due(received) - bounds.started;
        assert_eq!(after(0), Duration::from_secs(1));
        assert_eq!(after(512), Duration::from_millis(1_500));
        assert_eq!(after(2_048), Duration::from_secs(3));
        assert_eq!(after(usize::MAX), Duration::from_secs(30));
        assert_eq!(Bounds { rate_min: 0, ..bounds }.due(0), bounds.started + bounds.deadline);
    }

    proptest! {
        #[test]
        fn a_body_is_what_its_frames_are_or_too_large(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
            size_max in 0_usize..300,
        ) {
            let all = frames.concat();
            let frames = frames.into_iter().map(|frame| Ok(Bytes::from(frame))).collect();
            let got = run(Scripted { frames, ends: true }, bounds(size_max));
            if all.len() <= size_max {
                prop_assert_eq!(got.unwrap(), all);
            } else {
                prop_assert_eq!(got, Err(BodyFault::TooLarge));
            }
        }
    }
}
