//! A small HTTP server that says what a test wants, byte by byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long a test waits for what has to come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// What the server does after it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Saying {
    /// Sends these bytes and closes.
    All(Vec<u8>),
    /// Sends these bytes and then nothing, with the connection open.
    Stall(Vec<u8>),
    /// Sends the first bytes, then the second ones for ever.
    Endless(Vec<u8>, Vec<u8>),
}

/// An answer with a body of declared length.
pub(crate) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Saying {
    let lines = [&[&format!("HTTP/1.1 {status}")[..]], headers].concat().join("\r\n");
    let head = format!("{lines}\r\nContent-Length: {}\r\n\r\n", body.len());
    Saying::All([head.as_bytes(), body].concat())
}

/// A running server on loopback, which ends when this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Server {
    /// Starts a server that looks at the head of each request and answers it.
    pub(crate) async fn start(say: impl Fn(&str) -> Saying + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::new(say), Arc::clone(&requests)));
        Self { address, requests, _task: task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests up to now.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until its requests are as a test wants them.
    pub(crate) async fn wait_for(&self, what: &str, look: impl Fn(&[String]) -> bool) {
        let look = async {
            while !look(&self.requests()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(DEADLINE, look).await;
        assert!(seen.is_ok(), "waited in vain for {what}: {:#?}", self.requests());
    }
}

async fn accept(
    listener: TcpListener,
    say: Arc<impl Fn(&str) -> Saying + Send + Sync + 'static>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (say, requests) = (Arc::clone(&say), Arc::clone(&requests));
        connections.spawn(async move {
            // A client that goes away early is what some tests are about.
            let _ = serve(stream, &*say, &requests).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    say: &(impl Fn(&str) -> Saying + Sync),
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let saying = say(&head);
    requests.lock().unwrap().push(head);
    match saying {
        Saying::All(bytes) => stream.write_all(&bytes).await,
        Saying::Stall(bytes) => {
            stream.write_all(&bytes).await?;
            // Until the client has enough of it.
            stream.read_u8().await.map(|_| ())
        }
        Saying::Endless(first, again) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&again).await?;
            }
        }
    }
}
