//! `offswarm get`: get a file by its OFF URL or magnet link, or one file of a directory.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::client::fetch::{Fetched, Waiting, Ways};
use crate::client::{Client, GetError, ReadError};
use crate::limits::{MAX_METAINFO_LEN, MAX_URL_LEN};
use crate::off::{OffUrl, name};
use crate::store::StoreError;
use crate::torrent::metainfo::{Metainfo, MetainfoError, Version};

use super::args::{FetchArgs, GetArgs, Global, Patience, RungArgs, SwarmArgs};
use super::cat::to_stdout;
use super::exit::{CliError, Exit};
use super::get_directory;
use super::home::parse_url_with_path;
use super::legacy;
use super::output::Output;
use super::session;
use super::signals::Signals;

#[derive(Serialize)]
struct Shown<'a> {
    path: Option<&'a Path>,
    length: u64,
    #[serde(flatten)]
    sources: Sources,
}

/// Where blocks came from, for programs.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sources {
    blocks_local: u64,
    blocks_native: u64,
    blocks_swarm: u64,
    blocks_legacy: u64,
    bytes_native: u64,
    bytes_swarm: u64,
    bytes_legacy: u64,
    bytes_received: u64,
}

impl From<Fetched> for Sources {
    fn from(fetched: Fetched) -> Self {
        let Fetched { local, native, swarm, legacy, .. } = fetched;
        let Fetched { native_received, swarm_received, legacy_received, .. } = fetched;
        Self {
            blocks_local: local,
            blocks_native: native,
            blocks_swarm: swarm,
            blocks_legacy: legacy,
            bytes_native: native_received,
            bytes_swarm: swarm_received,
            bytes_legacy: legacy_received,
            bytes_received: native_received + swarm_received + legacy_received,
        }
    }
}

/// Where blocks came from, for people.
impl std::fmt::Display for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { blocks_local, blocks_native, blocks_swarm, bytes_native, bytes_swarm, .. } =
            self;
        let Self { blocks_legacy, bytes_legacy, .. } = self;
        write!(f, "{blocks_local} blocks were here")?;
        write!(f, ", {blocks_native} came from native peers ({bytes_native} bytes received)")?;
        write!(f, ", {blocks_swarm} from the swarm ({bytes_swarm} bytes received)")?;
        if *bytes_legacy == 0 {
            return Ok(());
        }
        write!(f, ", {blocks_legacy} from js-offs nodes ({bytes_legacy} bytes received)")
    }
}

pub(super) async fn run(
    global: &Global,
    args: GetArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let (url, path) = parse_url_with_path(&typed(global, &args.from.what)?)?;
    let ways = args.from.ways(global)?;
    if url.is_directory() && path.is_none() {
        return get_directory::run(global, &args, &url, &ways, output, signals).await;
    }
    let name = path.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path));
    let target = match args.output.as_deref() {
        Some(path) if path.as_os_str() == "-" => None,
        _ => Some(Target::choose(
            global,
            args.output.as_deref(),
            args.force,
            name.unwrap_or(url.name()),
            &url.file().to_string(),
        )?),
    };
    let client = global.client()?;
    let _lease = client.store().lease();
    let wanted = Wanted { url, path };
    let Some(target) = target else {
        let (url, fetched) = wanted.fetch(&client, &ways, output, signals.stop()).await?;
        to_stdout(&client, &url, &ways, output, signals).await?;
        return shown(None, &url, fetched, output);
    };
    let mut total = Fetched::default();
    loop {
        let (url, fetched) = wanted.fetch(&client, &ways, output, signals.stop()).await?;
        total = total.then(fetched);
        match tokio::task::block_in_place(|| target.write(&client, &url, output, signals)) {
            Ok(()) => return shown(Some(&target.path), &url, total, output),
            // The block has left the index, so the next round fetches it or says who is hurt.
            Err(Written::Damaged) => {
                tokio::task::block_in_place(|| client.find_damage(&url))?;
            }
            Err(Written::Failed(error)) => return Err(error),
        }
    }
}

/// What is being waited for, for programs.
#[derive(Serialize)]
struct Wait {
    missing: u64,
    blocks: u64,
    native_peers: u64,
    native_known: u64,
    swarm_begun: bool,
    swarm_peers: u64,
    swarm_known: u64,
    torrents: u64,
    legacy_nodes: u64,
    legacy_known: u64,
    dht_nodes: Option<u64>,
    reason: String,
}

impl From<&Waiting> for Wait {
    fn from(waiting: &Waiting) -> Self {
        let Waiting { missing, blocks, native, swarm, legacy, torrents, dht_nodes } = *waiting;
        let (native, begun) = (native.unwrap_or_default(), swarm.is_some());
        let legacy = legacy.unwrap_or_default();
        let swarm = swarm.unwrap_or_default();
        Self {
            missing,
            blocks,
            native_peers: native.peers,
            native_known: native.known,
            legacy_nodes: legacy.peers,
            legacy_known: legacy.known,
            swarm_begun: begun,
            swarm_peers: swarm.peers,
            swarm_known: swarm.known_peers,
            torrents,
            dht_nodes,
            reason: waiting.to_string(),
        }
    }
}

/// What is to be got.
pub(super) struct Wanted {
    pub(super) url: OffUrl,
    /// A file in the directory that `url` names.
    pub(super) path: Option<String>,
}

impl Wanted {
    /// Brings its blocks: the URL of the file.
    pub(super) async fn fetch(
        &self,
        client: &Client,
        ways: &Ways,
        output: &Output,
        stop: &CancellationToken,
    ) -> Result<(OffUrl, Fetched), CliError> {
        let url = &self.url;
        let mut progress = output.progress(Some(0), false);
        let mut watch = |waiting: &Waiting| {
            progress.set_total(waiting.blocks);
            progress.set(waiting.blocks - waiting.missing);
            let wait = Wait::from(waiting);
            progress.waiting_event(&wait.reason, &wait);
        };
        let fetched = match &self.path {
            Some(path) => client.fetch_member(url, path, ways, stop, &mut watch).await,
            None => {
                let fetched = client.fetch(url, ways, stop, &mut watch).await;
                fetched.map(|fetched| (url.clone(), fetched))
            }
        };
        fetched.map_err(|error| legacy::hinted(error.into(), client, url, ways))
    }
}

/// Brings the blocks of a URL.
pub(super) async fn fetch(
    client: &Client,
    url: &OffUrl,
    ways: &Ways,
    output: &Output,
    stop: &CancellationToken,
) -> Result<Fetched, CliError> {
    let wanted = Wanted { url: url.clone(), path: None };
    Ok(wanted.fetch(client, ways, output, stop).await?.1)
}

fn shown(
    path: Option<&Path>,
    url: &OffUrl,
    fetched: Fetched,
    output: &Output,
) -> Result<Exit, CliError> {
    let sources = Sources::from(fetched);
    let shown = Shown { path, length: url.length(), sources };
    if let Some(path) = path {
        output.result(&path.display().to_string(), &shown)?;
    }
    output.remark(&format!("{} bytes; {sources}", url.length()));
    Ok(Exit::Done)
}

/// The URL as typed, or for `-` from standard input, where no other process can see it.
pub(super) fn typed(global: &Global, text: &str) -> Result<String, CliError> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut line = String::new();
    let mut limited = io::Read::take(global.env.stdin(), MAX_URL_LEN as u64 + 2);
    io::Read::read_to_string(&mut limited, &mut line)
        .map_err(|error| CliError::failed("cannot read the URL from standard input", error))?;
    Ok(line)
}

impl FetchArgs {
    /// Where to look for blocks.
    pub(super) fn ways(&self, global: &Global) -> Result<Ways, CliError> {
        Ok(Ways {
            torrents: self
                .torrent
                .iter()
                .map(|path| torrent_to_join(global, path))
                .collect::<Result<_, _>>()?,
            web_seeds: self.web_seed.clone(),
            offline: self.offline,
            ..swarm_ways(global, &self.swarm, self.rungs, &self.patience)?
        })
    }
}

/// The ways that all commands have which fetch.
pub(super) fn swarm_ways(
    global: &Global,
    swarm: &SwarmArgs,
    rungs: RungArgs,
    patience: &Patience,
) -> Result<Ways, CliError> {
    let limit = |time: Duration| (!time.is_zero()).then_some(time);
    Ok(Ways {
        peers: swarm.peer.clone(),
        trackers: swarm.tracker.clone(),
        swarms: swarm.options(global, false)?,
        open: session::open(global, swarm),
        listed: global.env.daemon().map(|daemon| daemon.session().clone()),
        rungs: rungs.into(),
        timeout: limit(patience.timeout),
        stall: limit(patience.stall),
        ..Ways::default()
    })
}

/// Reads a torrent file whose swarm can be joined.
fn torrent_to_join(global: &Global, path: &Path) -> Result<Metainfo, CliError> {
    let metainfo = read_torrent(global, path)?;
    if metainfo.info.version == Version::V2 {
        let shown = path.display();
        return Err(CliError::new(
            Exit::Usage,
            format!("{shown} is of version 2 only, which is not downloaded here"),
        )
        .hint("use the torrent of version 1, or the hybrid"));
    }
    Ok(metainfo)
}

/// Reads a torrent file, not more of it than a torrent can have.
pub(super) fn read_torrent(global: &Global, path: &Path) -> Result<Metainfo, CliError> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let limit = MAX_METAINFO_LEN as u64 + 1;
    std::fs::File::open(global.env.at(path))
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, limit), &mut bytes))
        .map_err(|error| CliError::failed(format!("cannot read {shown}"), error))?;
    Metainfo::decode(&bytes).map_err(|error| {
        let exit = match error {
            MetainfoError::Layers(_) => Exit::Integrity,
            _ => Exit::Usage,
        };
        CliError { exit, ..CliError::failed(format!("cannot use {shown} as a torrent"), error) }
    })
}

/// The file that a stream goes to.
pub(super) struct Target {
    pub(super) path: PathBuf,
    /// Where that is.
    place: PathBuf,
    overwrite: bool,
    /// A device or a pipe: written to, never replaced.
    special: bool,
}

/// Why a stream was not written.
enum Written {
    /// A block is damaged on disk and has been quarantined.
    Damaged,
    Failed(CliError),
}

impl From<CliError> for Written {
    fn from(error: CliError) -> Self {
        Self::Failed(error)
    }
}

impl Target {
    /// The file that `--output` names, else that with the name in the URL.
    pub(super) fn choose(
        global: &Global,
        output: Option<&Path>,
        force: bool,
        name: &str,
        fallback: &str,
    ) -> Result<Self, CliError> {
        let own = PathBuf::from(name::safe(name, fallback));
        let (path, chosen) = match output {
            Some(path) if global.env.at(path).is_dir() => (path.join(own), false),
            Some(path) => (path.to_owned(), true),
            None => (own, false),
        };
        let place = global.env.at(&path);
        if chosen && is_special(&place) {
            return Ok(Self { path, place, overwrite: true, special: true });
        }
        // A link stays what it is; the file it leads to is replaced.
        let leads = if chosen { place.canonicalize().ok() } else { None };
        let path = leads.unwrap_or(path);
        let place = global.env.at(&path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !global.env.at(folder).is_dir()) {
            let attempt = format!("cannot write {}", path.display());
            let why = format!("{} is not a folder", folder.display());
            return Err(CliError::failed(attempt, why));
        }
        let overwrite = chosen || force;
        if !overwrite && place.symlink_metadata().is_ok() {
            return Err(CliError::failed(format!("cannot write {}", path.display()), "it exists")
                .hint("name another file with --output, or overwrite it with --force"));
        }
        Ok(Self { path, place, overwrite, special: false })
    }

    /// Writes the stream: to a temporary file that gets its name once everything is right.
    fn write(
        &self,
        client: &Client,
        url: &OffUrl,
        output: &Output,
        signals: &Signals,
    ) -> Result<(), Written> {
        let mut sink = self.begin()?;
        decode(client, url, sink.writer(), output, signals)?;
        Ok(self.keep(sink, url.is_executable())?)
    }

    /// Opens what the stream is written to before everything is right.
    pub(super) fn begin(&self) -> Result<Sink, CliError> {
        let path = &self.place;
        let sink = if self.special {
            std::fs::OpenOptions::new().write(true).open(path).map(Sink::Special)
        } else {
            temporary(path).map(Sink::Beside)
        };
        sink.map_err(|error| self.failed(error))
    }

    /// Gives the file its name.
    pub(super) fn keep(&self, sink: Sink, executable: bool) -> Result<(), CliError> {
        let Sink::Beside(file) = sink else { return Ok(()) };
        if executable {
            make_executable(file.as_file()).map_err(|error| self.failed(error))?;
        }
        file.as_file().sync_all().map_err(|error| self.failed(error))?;
        let path = &self.place;
        let named = if self.overwrite { file.persist(path) } else { file.persist_noclobber(path) };
        named.map_err(|error| self.failed(error.error))?;
        Ok(())
    }

    /// It could not be written.
    pub(super) fn failed(&self, error: io::Error) -> CliError {
        CliError::failed(format!("cannot write {}", self.path.display()), error)
    }
}

/// What a stream is written to.
pub(super) enum Sink {
    /// A device or a pipe.
    Special(std::fs::File),
    /// A file that is gone unless it is kept.
    Beside(NamedTempFile),
}

impl Sink {
    pub(super) fn writer(&mut self) -> &mut (dyn Write + Send) {
        match self {
            Self::Special(file) => file,
            Self::Beside(file) => file,
        }
    }
}

/// A file beside `path` that gets its name when it is complete.
pub(super) fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(".offswarm-")
        .suffix(".part")
        // What is left of it is up to the umask, as for any file a program makes.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
}

/// Whether a path leads to something that is neither a file nor a folder.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// A writer that fails once the user wants to stop.
pub(super) struct Stoppable<'a> {
    pub(super) target: &'a mut dyn Write,
    pub(super) signals: &'a Signals,
}

impl Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.signals.stop().is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        self.target.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// Lets everybody run a file who may read it.
fn make_executable(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode();
    file.set_permissions(std::fs::Permissions::from_mode(mode | ((mode & 0o444) >> 2)))
}

fn decode(
    client: &Client,
    url: &OffUrl,
    target: &mut dyn Write,
    output: &Output,
    signals: &Signals,
) -> Result<(), Written> {
    let mut progress = output.progress(Some(url.length()), true);
    let target = &mut Stoppable { target, signals };
    match client.read(url, target, &mut |written| progress.set(written)) {
        Ok(()) => Ok(()),
        Err(GetError::Read(ReadError::Store(StoreError::Damaged { .. }))) => Err(Written::Damaged),
        Err(GetError::Write(_)) if signals.stop().is_cancelled() => {
            Err(Written::Failed(GetError::Stopped.into()))
        }
        // Whoever read our output has had enough.
        Err(GetError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Written::Failed(error.into())),
    }
}
