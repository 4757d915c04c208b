//! Bytes on their way from a connection to a put, which reads them on a thread of its own.
//!
//! It ends well only when somebody says so: if the writer is dropped, because the client is gone
//! or the program stops, the reader fails, and with it the put.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use crate::limits::http::BODY_PARTS_AHEAD;

/// A pipe that holds a few parts.
#[must_use]
pub fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = mpsc::channel(BODY_PARTS_AHEAD);
    (PipeWriter(sender), PipeReader { receiver, current: Bytes::new(), ended: false })
}

enum Part {
    Bytes(Bytes),
    End,
    Broken(io::Error),
}

/// Where the parts of a body go in.
pub struct PipeWriter(mpsc::Sender<Part>);

impl PipeWriter {
    /// Waits for room. `false` if nobody reads any more.
    pub async fn send(&self, bytes: Bytes) -> bool {
        self.0.send(Part::Bytes(bytes)).await.is_ok()
    }

    /// Says that this was all of it.
    pub async fn finish(self) {
        // Whoever reads no more has a reason of its own.
        let _ = self.0.send(Part::End).await;
    }

    /// Says why there is no more of it.
    pub async fn fail(self, error: io::Error) {
        let _ = self.0.send(Part::Broken(error)).await;
    }
}

/// Where they come out. Must not be read on a thread that runs async tasks.
pub struct PipeReader {
    receiver: mpsc::Receiver<Part>,
    current: Bytes,
    ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Part::Bytes(bytes)) => self.current = bytes,
                Some(Part::End) => self.ended = true,
                Some(Part::Broken(error)) => return Err(error),
                None => {
                    let why = "the client went away before the end";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
            }
        }
        let read = buffer.len().min(self.current.len());
        self.current.copy_to_slice(buffer.get_mut(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut reader: PipeReader) -> io::Result<Vec<u8>> {
        let read = move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let (writer, reader) = pipe();
        let write = async {
            for part in ["ab", "", "c", "defgh"].repeat(10) {
                assert!(writer.send(Bytes::from(part)).await);
            }
            writer.finish().await;
        };
        let ((), read) = tokio::join!(write, read_all(reader));
        assert_eq!(read.unwrap(), "abcdefgh".repeat(10).as_bytes());
    }

    #[tokio::test]
    async fn a_body_without_an_end_is_an_error() {
        let (writer, reader) = pipe();
        assert!(writer.send(Bytes::from("ab")).await);
        drop(writer);
        assert_eq!(read_all(reader).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (writer, reader) = pipe();
        writer.fail(io::ErrorKind::TimedOut.into()).await;
        assert_eq!(read_all(reader).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (writer, reader) = pipe();
        drop(reader);
        assert!(!writer.send(Bytes::new()).await);
    }
}
