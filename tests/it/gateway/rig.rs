//! A gateway over a store of its own, in this process, and ways to ask it: byte by byte, and with
//! `curl`.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use offswarm::client::fetch::Ways;
use offswarm::client::put::PutOptions;
use offswarm::client::session::Session;
use offswarm::client::{Client, Settings};
use offswarm::http::{
    Access, Bounds, Context, LogLevel, Meter, Metrics, ServiceStatus, Services, Token, serve_within,
};
use offswarm::off::OffUrl;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::server::DEADLINE;

/// Nothing to supervise and nothing to log.
struct Nothing;

impl Services for Nothing {
    fn statuses(&self) -> Vec<ServiceStatus> {
        Vec::new()
    }

    fn restart(&self, _: &str) -> bool {
        false
    }

    fn panic(&self, _: &str) -> bool {
        false
    }
}

impl LogLevel for Nothing {
    fn filter(&self) -> String {
        "off".into()
    }

    fn set(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A running gateway, which ends when this is dropped.
pub(super) struct Gateway {
    pub(super) folder: TempDir,
    pub(super) session: Session,
    pub(super) address: SocketAddr,
    pub(super) stop: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub(super) async fn start() -> Self {
        Self::with(&Bounds::default(), &Settings::default(), None).await
    }

    /// With a token it is as if others could connect.
    pub(super) async fn with(bounds: &Bounds, settings: &Settings, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(&folder.path().join("home"), settings).unwrap();
        let session = Session::new(client, Ways { offline: true, ..Ways::default() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let context = Context {
            session: session.clone(),
            board: Arc::new(Nothing),
            config: Arc::new(|| serde_json::json!({})),
            log: Arc::new(Nothing),
            meter: Arc::new(Meter::default()),
            metrics: Arc::new(Metrics::default()),
            access: Access {
                token: token.map(Token::new),
                hosts: Vec::new(),
                loopback: token.is_none(),
                may_inject_faults: false,
            },
            started: SystemTime::now(),
            listen: address,
            stop: CancellationToken::new(),
        };
        let task = tokio::spawn({
            let (bounds, stop) = (bounds.clone(), stop.clone());
            async move { serve_within(listener, context, &bounds, stop).await }
        });
        Self { folder, session, address, stop, task }
    }

    pub(super) fn client(&self) -> &Client {
        self.session.client()
    }

    /// Puts bytes without asking the gateway.
    pub(super) fn put(&self, bytes: &[u8], content_type: &str, name: &str) -> OffUrl {
        let (content_type, name) = (content_type.to_owned(), name.to_owned());
        let options = PutOptions { content_type, name, ..PutOptions::default() };
        self.client().put(&mut &*bytes, &options, &mut |_| {}).unwrap().url
    }

    /// Puts files as a directory.
    pub(super) fn put_tree(&self, files: &[(&str, &str)]) -> OffUrl {
        let options = PutOptions { name: "site".into(), ..PutOptions::default() };
        let mut tree = self.client().begin_tree(options).unwrap();
        for (path, contents) in files {
            tree.add(path, false, &mut contents.as_bytes(), &mut |_| {}).unwrap();
        }
        tree.finish().unwrap().put.url
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A GET with some more header lines.
    pub(super) async fn get(&self, path: &str, lines: &[&str]) -> Answer {
        self.ask("GET", path, lines, b"").await
    }

    /// A request on a connection of its own.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        lines: &[&str],
        body: &[u8],
    ) -> Answer {
        let length = format!("Content-Length: {}", body.len());
        let host = format!("Host: {}", self.address);
        let mut all = vec![host.as_str(), "Connection: close"];
        if !body.is_empty() {
            all.push(&length);
        }
        all.extend(lines);
        let head = format!("{method} {path} HTTP/1.1\r\n{}\r\n\r\n", all.join("\r\n"));
        self.say(&[head.as_bytes(), body].concat()).await
    }

    /// Sends these bytes, and reads until the gateway ends the connection.
    pub(super) async fn say(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The gateway may end the connection before it has read everything.
        let _ = stream.write_all(bytes).await;
        Answer::read(&mut stream).await
    }

    /// `curl` with these arguments and the URL of a path.
    pub(super) async fn curl(&self, args: &[&str], path: &str) -> Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60"]).args(args);
        command.arg(format!("{}{path}", self.origin()));
        let run = tokio::task::spawn_blocking(move || command.output().expect("curl is installed"));
        run.await.unwrap()
    }

    /// Changes a byte of one slot of the first slab.
    pub(super) fn damage(&self, slot: u64) {
        let slab = self.folder.path().join("home/store/000000.slab");
        let slab = OpenOptions::new().read(true).write(true).open(slab).unwrap();
        let mut byte = [0];
        slab.read_exact_at(&mut byte, slot * 131_072).unwrap();
        slab.write_all_at(&[byte[0] ^ 1], slot * 131_072).unwrap();
    }
}

/// An answer, as far as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) async fn read(stream: &mut TcpStream) -> Self {
        let mut all = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut all)).await;
        // A reset says that the connection was cut; what came before it counts.
        let _ = read.expect("the connection ends");
        let end = all.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&all)));
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Self { status: status.expect("a status"), head, body: all[end + 4..].to_vec() }
    }

    /// A header that is there at most once.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice:\n{}", self.head);
        value
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The status and the bytes, which are as many as the head says.
    pub(super) fn whole(&self) -> (u16, &[u8]) {
        let length = self.header("content-length").expect("a length");
        assert_eq!(length, self.body.len().to_string());
        (self.status, &self.body)
    }
}

/// Bytes that differ from each other everywhere.
pub(super) fn noise(length: usize) -> Vec<u8> {
    use rand::{Rng, SeedableRng};
    let mut bytes = vec![0; length];
    rand::rngs::StdRng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
    bytes
}

/// Bounds for tests about time.
pub(super) fn impatient() -> Bounds {
    let short = Duration::from_millis(300);
    Bounds { head: short, stall: short, drain: short, ..Bounds::default() }
}
