//! Memory does not grow with the file: peak resident size as the kernel counts it.

use std::fs;
use std::process::Stdio;

use crate::program::{Place, Ran, Seeder};

/// The limit for putting and reading a file of any size.
const LIMIT_KIB: u64 = 64 << 10;

/// The limit with a swarm, whose buffers for pieces and peers come on top.
const SWARM_LIMIT_KIB: u64 = 100 << 10;

/// A file large enough that anything kept per byte of it would show.
const LEN: usize = 384 << 20;

/// Runs the program under GNU time and gives its peak resident size in KiB.
fn peak(place: &Place, home: &str, args: &[&str]) -> (u64, Ran) {
    let inner = place.command(home, args);
    let report = place.path("time.txt");
    let mut command = std::process::Command::new("/usr/bin/time");
    command.args(["-f", "%M", "-o"]).arg(&report).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(place.path("")).stdin(Stdio::null());
    let ran = Ran(command.output().expect("GNU time (Debian package `time`) is needed")).ok();
    (fs::read_to_string(report).unwrap().trim().parse().unwrap(), ran)
}

/// The peak of a process that is still running.
fn peak_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn put_and_get_stay_under_64_mib_and_swarms_under_100() {
    let place = Place::new();
    let file = place.file("in.bin", LEN);
    let (put, url) = peak(&place, "a", &["put", file.to_str().unwrap()]);
    let seeder: Seeder = place.share("b", &file, []);
    let (get, _) = peak(&place, "c", &["get", &seeder.magnet, "-o", "out.bin"]);
    let (read, _) = peak(&place, "a", &["get", url.stdout().trim(), "-o", "out.bin"]);
    // Only fresh noise: nothing of the stream serves again, so nothing of it may be kept.
    let fresh = ["put", "--randomizers", "fresh", file.to_str().unwrap()];
    let (fresh, _) = peak(&place, "d", &fresh);
    let share = peak_of(seeder.id());
    println!("peak KiB: put {put}, fresh {fresh}, read {read}, share {share}, get {get}");
    for (name, kib) in [("put", put), ("fresh", fresh), ("read", read)] {
        assert!(kib < LIMIT_KIB, "{name} took {kib} KiB");
    }
    for (name, kib) in [("share", share), ("get", get)] {
        assert!(kib < SWARM_LIMIT_KIB, "{name} took {kib} KiB");
    }
}
