//! One request and its answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{error::Elapsed, timeout};

use crate::legacy::message::{Request, Response};
use crate::legacy::upkeep::locked;
use crate::limits::legacy::{LEGACY_SMALL_REQUEST_LEN, MAX_LEGACY_REQUEST_LEN};

use super::{Bounds, Shared};

/// Bytes read at once.
const READ_LEN: usize = 16 << 10;

/// Why a request could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("it did not end within {} s", .0.as_secs_f32())]
    Slow(Duration),
    #[error("nothing came of it for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    #[error("it has more than {MAX_LEGACY_REQUEST_LEN} bytes")]
    TooLong,
    #[error("it broke off: {0}")]
    Io(#[from] io::Error),
}

/// A request, with what it takes of what all may take.
struct Read {
    bytes: Bytes,
    _large: Option<OwnedSemaphorePermit>,
}

impl Shared {
    /// Reads a request and answers it, if it makes sense.
    pub(super) async fn answer(&self, mut stream: TcpStream, remote: SocketAddr) {
        // What is written at once goes at once; nothing depends on it.
        let _ = stream.set_nodelay(true);
        let read = match read(&mut stream, &self.large, &self.bounds).await {
            Ok(read) if read.bytes.is_empty() => return,
            Ok(read) => read,
            Err(error) => return self.complaints.hear(remote, &error),
        };
        let Ok(local) = stream.local_addr() else { return };
        let request = match Request::decode(read.bytes.clone()) {
            Ok(request) => request,
            Err(error) => return self.complaints.hear(remote, &error),
        };
        if let Some(from) = request.from {
            locked(&self.contacts).called(from, remote.ip());
        }
        let Some(answer) = self.answer_to(&request, remote.ip()).await else {
            return tracing::trace!(%remote, call = request.call.name(), "answered by silence");
        };
        let from = Some(self.ourselves.seen_at(local));
        let number = request.number.clone();
        let bytes = Response { from, number, answer }.encode(&request.call);
        // Whoever takes its time over the answer does not hold a large request meanwhile.
        drop((request, read));
        if let Err(error) = write(&mut stream, &bytes, self.bounds.idle).await {
            tracing::debug!(%remote, "an answer was not taken: {error}");
        }
    }
}

/// Reads to the end of a request.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    large: &Arc<Semaphore>,
    bounds: &Bounds,
) -> Result<Read, ReadError> {
    let whole = async {
        let (mut bytes, mut permit) = (BytesMut::new(), None);
        loop {
            bytes.reserve(READ_LEN);
            let part = timeout(bounds.idle, stream.read_buf(&mut bytes)).await;
            if part.map_err(|_: Elapsed| ReadError::Stalled(bounds.idle))?? == 0 {
                return Ok(Read { bytes: bytes.freeze(), _large: permit });
            }
            if bytes.len() > MAX_LEGACY_REQUEST_LEN {
                return Err(ReadError::TooLong);
            }
            if bytes.len() > LEGACY_SMALL_REQUEST_LEN && permit.is_none() {
                // Nobody closes these.
                permit = Arc::clone(large).acquire_owned().await.ok();
            }
        }
    };
    match timeout(bounds.request, whole).await {
        Ok(read) => read,
        Err(_) => Err(ReadError::Slow(bounds.request)),
    }
}

/// Writes an answer and closes; whoever takes nothing of it for `idle` loses it.
async fn write(stream: &mut TcpStream, bytes: &[u8], idle: Duration) -> io::Result<()> {
    for part in bytes.chunks(READ_LEN) {
        timeout(idle, stream.write_all(part)).await??;
    }
    stream.shutdown().await?;
    // Whoever still sends would have the answer torn away by our closing; nobody honest does.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(idle: u64, request: u64) -> Bounds {
        let [idle, request] = [idle, request].map(Duration::from_secs);
        Bounds { idle, request, patience: Duration::ZERO }
    }

    fn permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_ends_with_the_time_for_a_request() {
        let (mut theirs, mut ours) = tokio::io::duplex(64);
        let slow = async move {
            while theirs.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::spawn(slow);
        let read = read(&mut ours, &permits(), &bounds(10, 30)).await;
        assert!(matches!(read.map(drop), Err(ReadError::Slow(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_never_ends_is_not_waited_for() {
        let (mut theirs, mut ours) = tokio::io::duplex(64);
        theirs.write_all(b"half").await.unwrap();
        let read = read(&mut ours, &permits(), &bounds(10, 30)).await;
        assert!(matches!(read.map(drop), Err(ReadError::Stalled(_))));
        drop(theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn large_requests_wait_for_each_other_and_are_bounded() {
        let (large, bounds) = (permits(), bounds(10, 30));
        let vast = vec![0; MAX_LEGACY_REQUEST_LEN + 1];
        let too_long = read(&mut &vast[..], &large, &bounds).await.map(drop).unwrap_err();
        assert!(matches!(too_long, ReadError::TooLong), "{too_long}");
        let fits = read(&mut &vast[1..], &large, &bounds).await.unwrap();
        assert_eq!(fits.bytes.len(), MAX_LEGACY_REQUEST_LEN);
        let waits = read(&mut &vast[1..], &large, &bounds).await.map(drop);
        assert!(matches!(waits, Err(ReadError::Slow(_))));
        let small = read(&mut &vast[..1_000], &large, &bounds).await.unwrap();
        assert_eq!(small.bytes.len(), 1_000);
        drop(fits);
        assert!(read(&mut &vast[1..], &large, &bounds).await.is_ok());
    }
}
