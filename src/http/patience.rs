//! Waiting for a client that does nothing, and how long.
//!
//! A connection that takes nothing of its answer and a body that sends nothing both hold memory and
//! a permit. Whenever enough has moved the wait starts anew, so that a slow client is served to its
//! end, and one that sends a byte now and then is not.

use std::error::Error;
use std::fmt;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::http::LEAST_MOVED;

/// Nothing has come for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stalled(Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "next to nothing has come for {} s", self.0.as_secs_f32())
    }
}

impl Error for Stalled {}

impl Stalled {
    /// Whether this is why something failed.
    pub(super) fn is_cause_of(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// The time that a client was waited for since enough has moved. What we take ourselves is not
/// counted: a wait begins with a poll that brings nothing, and ends with the next that does.
struct Patience {
    most: Duration,
    waited: Duration,
    moved: u64,
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patience {
    const fn new(most: Duration) -> Self {
        Self { most, waited: Duration::ZERO, moved: 0, wait: None }
    }

    /// Looks at what a poll has brought, which is `moved` bytes: an error if that was too little for
    /// too long.
    fn look<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<T>,
        moved: impl FnOnce(&T) -> u64,
    ) -> Poll<Result<T, Stalled>> {
        let Poll::Ready(brought) = polled else {
            let left = self.most.saturating_sub(self.waited);
            let begin = || (Instant::now(), Box::pin(sleep(left)));
            let (_, timer) = self.wait.get_or_insert_with(begin);
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Err(Stalled(self.most)));
        };
        if let Some((began, _)) = self.wait.take() {
            self.waited += began.elapsed();
        }
        self.moved = self.moved.saturating_add(moved(&brought));
        if self.moved >= LEAST_MOVED {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
        Poll::Ready(Ok(brought))
    }
}

/// A connection that ends when its other side takes nothing.
pub(super) struct PatientIo<I> {
    inner: I,
    patience: Patience,
}

impl<I> PatientIo<I> {
    pub(super) const fn new(inner: I, most: Duration) -> Self {
        Self { inner, patience: Patience::new(most) }
    }

    fn look(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let timed_out = |stalled| Err(io::Error::new(io::ErrorKind::TimedOut, stalled));
        let moved = |written: &io::Result<usize>| written.as_ref().map_or(0, |n| *n as u64);
        self.patience.look(cx, polled, moved).map(|looked| looked.unwrap_or_else(timed_out))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for PatientIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for PatientIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.look(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.look(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// The body of a request, which fails with [`Stalled`] when nothing comes.
pub(super) struct PatientBody {
    inner: Body,
    patience: Patience,
}

impl PatientBody {
    pub(super) const fn new(inner: Body, most: Duration) -> Self {
        Self { inner, patience: Patience::new(most) }
    }
}

/// Bytes that a frame of a body has. The end is worth as much as any.
fn came<E>(frame: Option<&Result<Frame<Bytes>, E>>) -> u64 {
    let frame = frame.and_then(|frame| frame.as_ref().ok());
    frame.and_then(Frame::data_ref).map_or(LEAST_MOVED, |bytes| bytes.len() as u64)
}

impl hyper::body::Body for PatientBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.patience.look(cx, polled, |frame| came(frame.as_ref())).map(|looked| match looked {
            Ok(frame) => frame.map(|frame| frame.map_err(Into::into)),
            Err(stalled) => Some(Err(stalled.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const MOST: Duration = Duration::from_secs(60);

    const PART: usize = LEAST_MOVED as usize;

    /// Reads parts of a length, one in half the time that is allowed: whether ten got through.
    async fn reads(len: usize) -> io::Result<()> {
        let (ours, mut theirs) = tokio::io::duplex(len);
        let mut ours = PatientIo::new(ours, MOST);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(MOST / 2).await;
                if theirs.read_exact(&mut vec![0; len]).await.is_err() {
                    return;
                }
            }
        };
        let writing = async move { ours.write_all(&vec![0; 10 * len]).await };
        tokio::join!(writing, slow).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_served_and_one_that_takes_next_to_nothing_is_not() {
        reads(PART).await.unwrap();
        assert_eq!(reads(PART / 10).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (ours, _theirs) = tokio::io::duplex(10);
        let error = PatientIo::new(ours, MOST).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// What we take ourselves is not the reader's fault.
    #[tokio::test(start_paused = true)]
    async fn a_writer_that_pauses_cuts_nobody() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut ours = PatientIo::new(ours, MOST);
        let reading = async { theirs.read_exact(&mut [0; 40]).await.map(|_| ()) };
        let writing = async {
            for _ in 0..5 {
                ours.write_all(&[0; 8]).await?;
                tokio::time::sleep(MOST * 2).await;
            }
            Ok(())
        };
        let (written, read) = tokio::join!(writing, reading);
        written.and(read).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_fails_and_says_so() {
        let never = futures_util::stream::pending::<io::Result<Bytes>>();
        let body = PatientBody::new(Body::from_stream(never), MOST);
        // As a handler sees it, through another body.
        let error = Body::new(body).frame().await.unwrap().unwrap_err();
        assert!(Stalled::is_cause_of(&error), "{error}");
    }
}
