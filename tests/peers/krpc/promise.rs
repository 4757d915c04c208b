//! The whole promise: an OFF URL and one node of a DHT that knows nothing of OFF are enough.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use offswarm::off::OffUrl;
use serde_json::json;

use crate::common::child::Running;
use crate::common::{Home, LISTEN_HERE};
use crate::journey::text;

use super::private::PrivateDht;

const LENGTH: usize = 500_000;

/// The program in this home, with one node of the DHT.
fn offswarm<A: AsRef<OsStr>>(
    home: &Home,
    dht: &PrivateDht,
    entry: usize,
    args: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = home.offswarm(args);
    command.env_remove("OFFSWARM_NO_DHT").args(LISTEN_HERE);
    command.arg("--dht-bootstrap").arg(dht.addresses[entry].to_string());
    command
}

fn get(dht: &PrivateDht, entry: usize, url: &OffUrl, how: &[&str]) -> Vec<u8> {
    let home = Home::new();
    let out = home.beside("out");
    let mut get = offswarm(&home, dht, entry, ["--json", "get", "--timeout", "90s"]);
    let told = get.args(how).arg("--output").arg(&out).arg(url.to_string()).output().unwrap();
    assert!(told.status.success(), "{}", text(&told.stderr));
    fs::read(out).unwrap()
}

/// A shares a file and says a bare URL, with no hint in it. B gets it, who knows that URL and one node
/// of the DHT. A stock client joins by the magnet link, which names no peer either. Then A goes away,
/// and C gets the file from the bare URL: what A said in the DHT is still there, and the stock client
/// announces itself. D gets it meanwhile from A alone, block by block.
#[test]
fn a_bare_url_is_enough_and_then_a_stock_client_is() {
    let dht = PrivateDht::of(5);
    let home = Home::new();
    let contents: Vec<u8> = (0..LENGTH).map(|n| u8::try_from(n * n % 251).unwrap()).collect();
    fs::write(home.beside("file"), &contents).unwrap();
    let mut share = offswarm(&home, &dht, 0, ["--quiet", "share", "--bare"]);
    let sharing = Running::start(share.arg(home.beside("file")));
    let url = OffUrl::parse(&sharing.line()).unwrap();
    assert_eq!(url, url.canonical(), "the URL has no hints");
    let magnet = sharing.line();
    assert!(!magnet.contains("pe="), "{magnet}");

    // From the swarm first: that is what the rest is about.
    assert!(get(&dht, 1, &url, &["--swarm-only"]) == contents, "B got something else");
    assert!(get(&dht, 4, &url, &["--native-only"]) == contents, "D got something else");

    let folder = tempfile::tempdir().unwrap();
    dht.tell(2, "add_torrent", json!({ "what": magnet, "folder": folder.path() }));
    dht.event("complete");
    assert!(sharing.terminate().success());

    assert!(get(&dht, 3, &url, &[]) == contents, "C got something else");
}
