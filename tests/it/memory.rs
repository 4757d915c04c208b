//! Memory does not grow with the file: peak resident size as the kernel counts it.

use std::fs;
use std::process::Stdio;

use crate::program::{Place, Ran, Seeder};

/// The limit for a file of any size.
const LIMIT_KIB: u64 = 100 << 10;

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
fn put_share_and_get_stay_under_100_mib() {
    let place = Place::new();
    let file = place.file("in.bin", LEN);
    let (put, _) = peak(&place, "a", &["put", file.to_str().unwrap()]);
    let seeder: Seeder = place.share("b", &file, []);
    let (get, _) = peak(&place, "c", &["get", &seeder.magnet, "-o", "out.bin"]);
    let share = peak_of(seeder.id());
    println!("peak KiB: put {put}, share {share}, get {get}");
    for (name, kib) in [("put", put), ("share", share), ("get", get)] {
        assert!(kib < LIMIT_KIB, "{name} took {kib} KiB");
    }
}
