//! Bodies of a known length. One that ends early is an error, so that the connection is cut and
//! nobody takes the part for the whole.

use std::collections::VecDeque;
use std::error::Error;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use hyper::body::{Body, Frame, SizeHint};

use crate::client::GetError;
use crate::client::session::{Reading, Session, Source};

type Failure = Box<dyn Error + Send + Sync>;

/// A body of so many bytes.
pub(super) struct Exactly {
    parts: BoxStream<'static, Result<Bytes, Failure>>,
    left: u64,
}

impl Exactly {
    /// What the steps give, one after the other, which is `length` bytes.
    pub(super) fn new(
        session: Session,
        source: Source,
        steps: impl IntoIterator<Item = Step>,
        length: u64,
    ) -> Self {
        let steps = Steps { session, source, waiting: steps.into_iter().collect(), reading: None };
        let parts = unfold(Some(steps), |steps| async {
            let mut steps = steps?;
            match steps.next().await.transpose()? {
                Ok(part) => Some((Ok(part), Some(steps))),
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Self { parts: parts.boxed(), left: length }
    }
}

impl Body for Exactly {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let wrong = |what: &str| Poll::Ready(Some(Err(what.into())));
        match ready!(self.parts.as_mut().poll_next(cx)) {
            None if self.left == 0 => Poll::Ready(None),
            None => {
                self.left = 0;
                wrong("the file ends before its length")
            }
            Some(Ok(part)) => match self.left.checked_sub(part.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Poll::Ready(Some(Ok(Frame::data(part))))
                }
                None => wrong("the file goes on beyond its length"),
            },
            Some(Err(error)) => {
                tracing::debug!("an answer is cut short: {error}");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A part of a body.
pub(super) enum Step {
    /// Bytes at hand.
    Text(Bytes),
    /// A range that is being read.
    Reading(Reading),
    /// A range to be read when it is its turn.
    Range(Range<u64>),
}

struct Steps {
    session: Session,
    source: Source,
    waiting: VecDeque<Step>,
    reading: Option<Reading>,
}

impl Steps {
    async fn next(&mut self) -> Result<Option<Bytes>, Arc<GetError>> {
        loop {
            if let Some(reading) = &mut self.reading {
                match reading.next().await {
                    Some(part) => return part.map(Some),
                    None => self.reading = None,
                }
            }
            match self.waiting.pop_front() {
                None => return Ok(None),
                Some(Step::Text(text)) => return Ok(Some(text)),
                Some(Step::Reading(reading)) => self.reading = Some(reading),
                Some(Step::Range(range)) => {
                    self.reading = Some(self.session.read(&self.source, range).await?);
                }
            }
        }
    }
}
