//! What is shipped beside the program: systemd units, checked by systemd's own tool (Debian package
//! `systemd`; no running systemd is needed), and the recipe of a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the unit of the system relies on for its safety and its upkeep.
const SYSTEM: &[&str] = &[
    "Type=notify",
    "WatchdogSec=60",
    "ExecStart=/usr/local/bin/offswarm --home /var/lib/offswarm serve",
    "Restart=on-failure",
    "RestartPreventExitStatus=2 11",
    "TimeoutStopSec=20",
    "DynamicUser=yes",
    "StateDirectory=offswarm",
    "StateDirectoryMode=0700",
    "UMask=0077",
    "LimitNOFILE=65536",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "WantedBy=multi-user.target",
];

/// The same for the unit of a user, whose manager cannot mount.
const USER: &[&str] = &[
    "Type=notify",
    "WatchdogSec=60",
    "ExecStart=/usr/local/bin/offswarm serve",
    "Restart=on-failure",
    "RestartPreventExitStatus=2 11",
    "TimeoutStopSec=20",
    "UMask=0077",
    "LimitNOFILE=65536",
    "NoNewPrivileges=yes",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "SystemCallFilter=@system-service",
    "WantedBy=default.target",
];

/// What the container relies on.
const CONTAINER: &[&str] = &[
    "RUN rustup target add x86_64-unknown-linux-musl",
    "FROM scratch",
    "USER 65532:65532",
    "ENV OFFSWARM_HOME=/data",
    "VOLUME /data",
    "EXPOSE 6881/tcp 6881/udp 23402/tcp",
    "STOPSIGNAL SIGTERM",
    "ENTRYPOINT [\"/offswarm\"]",
    "CMD [\"serve\"]",
];

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".dist").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn relies_on(name: &str, lines: &[&str]) {
    let text = shipped(name);
    for line in lines {
        assert!(text.lines().any(|there| there == *line), "{name} lacks the line {line}");
    }
}

/// The unit in a folder of its own, with the program where it was built: the tool looks whether what
/// is to be started is there.
fn unit_to_try(folder: &Path, name: &str) -> PathBuf {
    let text = shipped(name).replace("/usr/local/bin/offswarm", env!("CARGO_BIN_EXE_offswarm"));
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn analyze(folder: &Path, args: &[&str], unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(args).arg(unit).env("XDG_RUNTIME_DIR", folder).env("HOME", folder);
    command.output().expect("systemd-analyze runs (Debian package systemd)")
}

/// Whether the tool is content, and what it said otherwise.
fn judged(output: &Output) -> Result<(), String> {
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    // It warns of misspelt directives and ends well all the same. What it says of other units on the
    // machine is no matter.
    let warned = said[1].lines().any(|line| line.contains("offswarm"));
    if output.status.success() && !warned { Ok(()) } else { Err(said.concat()) }
}

#[test]
fn the_units_say_what_we_rely_on() {
    relies_on("offswarm.service", SYSTEM);
    relies_on("offswarm-user.service", USER);
}

#[test]
fn systemd_understands_both_units() {
    let folder = tempfile::tempdir().unwrap();
    for (name, whose) in [("offswarm.service", "--system"), ("offswarm-user.service", "--user")] {
        let unit = unit_to_try(folder.path(), name);
        let output = analyze(folder.path(), &["verify", whose, "--man=no"], &unit);
        judged(&output).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
}

#[test]
fn a_misspelt_directive_would_be_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_to_try(folder.path(), "offswarm.service");
    let text = fs::read_to_string(&unit).unwrap().replace("ProtectHome", "ProtectHouse");
    fs::write(&unit, text).unwrap();
    let output = analyze(folder.path(), &["verify", "--man=no"], &unit);
    assert!(judged(&output).unwrap_err().contains("ProtectHouse"));
}

/// In tenths of systemd's measure of exposure, from 0 to 10: what remains of the system's unit is
/// the network, which it is for. A user's manager cannot do most of what counts.
#[test]
fn systemd_finds_both_units_confined() {
    let folder = tempfile::tempdir().unwrap();
    for (name, most) in [("offswarm.service", 15), ("offswarm-user.service", 65)] {
        let unit = unit_to_try(folder.path(), name);
        let threshold = format!("--threshold={most}");
        let args = ["security", "--offline=true", "--no-pager", &threshold];
        let output = analyze(folder.path(), &args, &unit);
        judged(&output).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
}

#[test]
fn the_container_says_what_we_rely_on() {
    relies_on("Dockerfile", CONTAINER);
    let text = shipped("Dockerfile");
    assert!(text.contains("HEALTHCHECK") && text.contains("CMD [\"/offswarm\", \"status\"]"));
    assert!(text.contains("/etc/ssl/certs/ca-certificates.crt"));
    let last = text.split("\nFROM ").last().unwrap();
    assert!(last.starts_with("scratch") && !last.contains("\nRUN "), "nothing runs in the image");
}
