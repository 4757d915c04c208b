//! A node of js-offs or OFFS as far as HTTP shows it, and all that may be wrong with one.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// What is answered to a request.
#[derive(Clone)]
pub(super) enum Answer {
    /// These bytes, and the end of the connection.
    Whole(Vec<u8>),
    /// These bytes, and then a connection that is cut off.
    Reset(Vec<u8>),
    /// These bytes, and then nothing.
    Stall(Vec<u8>),
    /// A body without end.
    Endless,
}

impl Answer {
    /// As Express answers: chunked, without a length, and always ended well.
    pub(super) fn chunked(status: &str, content_type: &str, body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\nX-Powered-By: Express\r\n");
        write!(head, "Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let mut answer = head.into_bytes();
        for part in body.chunks(64 << 10) {
            answer.extend(format!("{:x}\r\n", part.len()).into_bytes());
            answer.extend(part);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        Self::Whole(answer)
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        match self {
            Self::Whole(bytes) => stream.write_all(bytes),
            Self::Reset(bytes) => {
                stream.write_all(bytes)?;
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO))
            }
            Self::Stall(bytes) => {
                stream.write_all(bytes)?;
                // Until the other side has had enough.
                stream.read(&mut [0]).map(|_| ())
            }
            Self::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
                loop {
                    stream.write_all(&[7; 8 << 10])?;
                }
            }
        }
    }
}

/// A running node. Its thread waits for connections as long as the test runs.
pub(super) struct Node {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Node {
    /// A node that answers by the path and query of a request.
    pub(super) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (requests, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, requests }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The heads of all requests.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// What they asked for.
    pub(super) fn paths(&self) -> Vec<String> {
        self.requests().iter().map(|head| path_of(head).to_owned()).collect()
    }

    pub(super) fn last_path(&self) -> String {
        self.paths().pop().unwrap()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Answer) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /"), "{head}");
    seen.lock().unwrap().push(head.clone());
    // Whoever asked may have gone.
    let _ = answer(path_of(&head)).send(&mut stream);
}

fn path_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}
