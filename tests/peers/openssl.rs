//! An HTTPS server whose certificate nobody vouches for.

use std::process::Command;

use offswarm::swarm::guard::{Guard, GuardError, Origin};
use offswarm::swarm::tracker::TrackerError;
use offswarm::swarm::tracker::{self, Announce, Event};

use crate::common::child::Running;
use crate::programs::{connect, free_address, program};

#[tokio::test]
async fn an_https_tracker_with_a_certificate_of_its_own_making_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = || {
        let mut command = Command::new(program("openssl", "openssl"));
        command.current_dir(folder.path());
        command
    };
    let made = openssl()
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem", "-days", "2"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let address = free_address();
    let mut server = openssl();
    server.args(["s_server", "-quiet", "-key", "key.pem", "-cert", "certificate.pem", "-www"]);
    let _running = Running::start(server.args(["-accept", &address.to_string()]));
    connect(address);

    let url = format!("https://localhost:{}/announce", address.port());
    let tracker = tracker::Tracker::parse(&url, Origin::Stranger).unwrap();
    let what = Announce {
        infohash: offswarm::id::InfoHash::of(b"x"),
        peer_id: *b"-OS0100-abcdefghijkl",
        port: 40_000,
        uploaded: 0,
        downloaded: 0,
        left: 0,
        event: Some(Event::Started),
        want: 0,
        key: 7,
        tracker_id: None,
    };
    let asked = tracker::announce(&Guard::new().unwrap(), &tracker, &what).await;
    let Err(TrackerError::Guard(GuardError::Connect { source, .. })) = asked else {
        panic!("{asked:?}")
    };
    assert!(format!("{source:?}").contains("InvalidCertificate"), "{source:?}");
}
