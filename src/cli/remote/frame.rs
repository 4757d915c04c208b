//! Frames: a length of four bytes (big endian, of what follows), a byte that says what it is, and
//! its contents, a mebibyte at most.

use std::io::{self, ErrorKind, Read, Write};

use serde::{Deserialize, Serialize};

use super::bar::BarState;

/// Bytes of a frame's contents, at most.
pub(super) const MAX_FRAME_LEN: usize = 1 << 20;

/// What the program says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    pub(super) version: String,
    /// Whether its stderr is a terminal.
    pub(super) watched: bool,
}

/// What the user has done to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Interrupt,
    Terminate,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame {
    Hello(Hello),
    Welcome(String),
    Words(Vec<u8>),
    Go,
    Stdin(Vec<u8>),
    StdinEnd,
    /// The number of the system's error; 0 if it has none.
    StdinFailed(i32),
    Signal(Signal),
    OutputClosed,
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    WantStdin,
    Bar(BarState),
    Exit(u8),
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is refused")]
    Length(u32),
    #[error("there are no frames of the kind {0}")]
    Kind(u8),
    #[error("a frame of the kind {0} has other contents")]
    Contents(u8),
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(ErrorKind::InvalidData, error)
    }
}

impl Frame {
    /// What it is, and its contents.
    fn parts(&self) -> (u8, Vec<u8>) {
        let json = |contents: serde_json::Result<Vec<u8>>| contents.unwrap_or_default();
        match self {
            Self::Hello(hello) => (1, json(serde_json::to_vec(hello))),
            Self::Welcome(version) => (2, version.clone().into_bytes()),
            Self::Words(bytes) => (3, bytes.clone()),
            Self::Go => (4, Vec::new()),
            Self::Stdin(bytes) => (5, bytes.clone()),
            Self::StdinEnd => (6, Vec::new()),
            Self::StdinFailed(code) => (7, code.to_be_bytes().to_vec()),
            Self::Signal(Signal::Interrupt) => (8, vec![0]),
            Self::Signal(Signal::Terminate) => (8, vec![1]),
            Self::OutputClosed => (9, Vec::new()),
            Self::Stdout(bytes) => (10, bytes.clone()),
            Self::Stderr(bytes) => (11, bytes.clone()),
            Self::WantStdin => (12, Vec::new()),
            Self::Bar(state) => (13, json(serde_json::to_vec(state))),
            Self::Exit(code) => (14, vec![*code]),
        }
    }

    fn decode(kind: u8, contents: Vec<u8>) -> Result<Self, FrameError> {
        let bad = || FrameError::Contents(kind);
        Ok(match (kind, &*contents) {
            (1, json) => Self::Hello(serde_json::from_slice(json).map_err(|_| bad())?),
            (2, _) => Self::Welcome(String::from_utf8(contents).map_err(|_| bad())?),
            (3, _) => Self::Words(contents),
            (4, []) => Self::Go,
            (5, _) => Self::Stdin(contents),
            (6, []) => Self::StdinEnd,
            (7, code) => Self::StdinFailed(i32::from_be_bytes(code.try_into().map_err(|_| bad())?)),
            (8, [0]) => Self::Signal(Signal::Interrupt),
            (8, [1]) => Self::Signal(Signal::Terminate),
            (9, []) => Self::OutputClosed,
            (10, _) => Self::Stdout(contents),
            (11, _) => Self::Stderr(contents),
            (12, []) => Self::WantStdin,
            (13, json) => Self::Bar(serde_json::from_slice(json).map_err(|_| bad())?),
            (14, [code]) => Self::Exit(*code),
            (4 | 6 | 8 | 9 | 12 | 14, _) => return Err(bad()),
            _ => return Err(FrameError::Kind(kind)),
        })
    }

    /// Reads the next frame; `None` at the end, which may be in the middle of one.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 5];
        if !fill(from, &mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, kind] = head;
        let declared = u32::from_be_bytes([a, b, c, d]);
        let length = declared.checked_sub(1).and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|length| *length <= MAX_FRAME_LEN) else {
            return Err(FrameError::Length(declared).into());
        };
        let mut contents = vec![0; length];
        if !fill(from, &mut contents)? {
            return Ok(None);
        }
        Ok(Some(Self::decode(kind, contents)?))
    }

    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, contents) = self.parts();
        let length = u32::try_from(contents.len() + 1).ok();
        let Some(length) = length.filter(|_| contents.len() <= MAX_FRAME_LEN) else {
            return Err(FrameError::Length(u32::MAX).into());
        };
        let mut frame = Vec::with_capacity(contents.len() + 5);
        frame.extend(length.to_be_bytes());
        frame.push(kind);
        frame.extend(contents);
        to.write_all(&frame)
    }
}

/// Reads as much as fits; false if the other end hung up before.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..2_000);
        prop_oneof![
            (".*", any::<bool>())
                .prop_map(|(version, watched)| Frame::Hello(Hello { version, watched })),
            ".*".prop_map(Frame::Welcome),
            bytes().prop_map(Frame::Words),
            Just(Frame::Go),
            bytes().prop_map(Frame::Stdin),
            Just(Frame::StdinEnd),
            any::<i32>().prop_map(Frame::StdinFailed),
            Just(Frame::Signal(Signal::Interrupt)),
            Just(Frame::Signal(Signal::Terminate)),
            Just(Frame::OutputClosed),
            bytes().prop_map(Frame::Stdout),
            bytes().prop_map(Frame::Stderr),
            Just(Frame::WantStdin),
            (any::<u64>(), any::<Option<u64>>(), ".*").prop_map(|(id, total, message)| {
                let has_total = total.is_some();
                Frame::Bar(BarState { id, has_total, total, message, ..BarState::default() })
            }),
            any::<u8>().prop_map(Frame::Exit),
        ]
    }

    proptest! {
        #[test]
        fn reads_what_was_written(all in proptest::collection::vec(frames(), 0..8)) {
            let mut bytes = Vec::new();
            for frame in &all {
                frame.write(&mut bytes).unwrap();
            }
            let mut rest = &*bytes;
            for frame in &all {
                let read = Frame::read(&mut rest).unwrap();
                prop_assert_eq!(read.as_ref(), Some(frame));
            }
            prop_assert!(Frame::read(&mut rest).unwrap().is_none());
        }

        #[test]
        fn any_bytes_give_a_frame_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            kind in 0_u8..20,
        ) {
            let _ = Frame::read(&mut &*bytes);
            let _ = Frame::decode(kind, bytes);
        }
    }

    #[test]
    fn refuses_long_frames_without_making_room_for_them() {
        let mut head: &[u8] = &[0xff, 0xff, 0xff, 0xff, 10];
        assert!(Frame::read(&mut head).is_err());
        let mut empty: &[u8] = &[0, 0, 0, 0, 10];
        assert!(Frame::read(&mut empty).is_err());
        assert!(Frame::Stdout(vec![0; MAX_FRAME_LEN + 1]).write(&mut Vec::new()).is_err());
    }
}
