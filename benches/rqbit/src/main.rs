//! A BitTorrent client made of librqbit with its file storage, for `benches/swarm.sh`.
//!
//! ```text
//! bench-rqbit seed TORRENT FOLDER         prints its port once it serves, and goes on
//! bench-rqbit get TORRENT FOLDER PORT     prints the seconds from the first dial to the last piece
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use librqbit::{
    AddTorrent, AddTorrentOptions, ListenerMode, ListenerOptions, Session, SessionOptions,
};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, torrent, folder, rest @ ..] = args.as_slice() else {
        bail!("usage: bench-rqbit seed|get TORRENT FOLDER [PORT]");
    };
    let peer = match (what.as_str(), rest) {
        ("seed", []) => None,
        ("get", [port]) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?))),
        _ => bail!("usage: bench-rqbit seed|get TORRENT FOLDER [PORT]"),
    };
    let bytes = std::fs::read(torrent).context("cannot read the torrent")?;
    let session = Session::new_with_opts(folder.into(), options()).await?;
    let options = AddTorrentOptions {
        overwrite: true,
        output_folder: Some(folder.clone()),
        initial_peers: peer.map(|peer| vec![peer]),
        disable_trackers: true,
        ..AddTorrentOptions::default()
    };
    let added = session.add_torrent(AddTorrent::TorrentFileBytes(bytes.into()), Some(options));
    let handle = added.await?.into_handle().context("no torrent")?;
    // What is in the folder has been checked.
    handle.wait_until_initialized().await?;
    let start = Instant::now();
    handle.wait_until_completed().await?;
    if peer.is_some() {
        println!("{:.3}", start.elapsed().as_secs_f64());
        return Ok(());
    }
    println!("{}", session.listen_addr().context("no port")?.port());
    std::future::pending().await
}

fn options() -> SessionOptions {
    SessionOptions {
        dht: None,
        disable_trackers: true,
        disable_local_service_discovery: true,
        listen: Some(ListenerOptions {
            mode: ListenerMode::TcpOnly,
            listen_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ipv4_only: true,
            ..ListenerOptions::default()
        }),
        ..SessionOptions::default()
    }
}
