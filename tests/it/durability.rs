//! What survives kill -9 and a full disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::program::{Place, Ran, kill, noise};

const KILLS: usize = 50;

/// Kills `put` at 50 random moments. Every URL that was printed is readable afterwards.
#[test]
fn killing_put_at_any_moment_loses_nothing_that_was_promised() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let place = Place::new();
    let file = place.file("in.bin", 20 << 20);
    let whole = time_of_one_put(&place, &file);
    let mut printed = Vec::new();
    for _ in 0..KILLS {
        let mut put = place
            .command("home", ["put", file.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The wait is the experiment: a moment somewhere in the life of the process.
        std::thread::sleep(whole.mul_f64(rng.random_range(0.0..1.1)));
        kill("KILL", put.id());
        put.wait().unwrap();
        let url = Ran(put.wait_with_output().unwrap()).stdout();
        if url.ends_with('\n') {
            printed.push(url.trim().to_owned());
        }
        if place.path("home/catalog.redb").exists() {
            place.run("home", ["stat"]).ok();
        }
    }
    for url in &printed {
        place.run("home", ["get", url, "-o", "out", "--offline"]).ok();
        assert!(fs::read(place.path("out")).unwrap() == noise(20 << 20));
    }
    let listed = place.run("home", ["ls"]).ok().stdout();
    for url in listed.lines() {
        place.run("home", ["get", url, "-o", "out", "--offline"]).ok();
    }
}

/// A put that was killed between the making of the index and that of the catalog left a home that
/// nothing could be put into any more: it looked like one whose catalog is lost.
#[test]
fn no_home_has_an_index_before_it_has_a_catalog() {
    let place = Place::new();
    let file = place.file("in", 1_000);
    // Where the catalog is made, so that this fails.
    fs::create_dir_all(place.path("home/catalog.new")).unwrap();
    place.run("home", ["put", file.to_str().unwrap()]).exits(1);
    assert!(!place.path("home/store/index.redb").exists());
    fs::remove_dir(place.path("home/catalog.new")).unwrap();
    let url = place.put("home", &file);
    place.run("home", ["get", &url, "-o", "out", "--offline"]).ok();
}

fn time_of_one_put(place: &Place, file: &Path) -> Duration {
    let start = std::time::Instant::now();
    place.put("trial", file);
    start.elapsed()
}

/// A small tmpfs, unmounted at the end.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf, mib: u32) -> Self {
        fs::create_dir(&at).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at)
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a tmpfs, so it must run as root");
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_what_was_stored_stays() {
    let place = Place::new();
    let _disk = SmallDisk::mount(place.path("disk"), 24);
    let kept = place.put("disk/home", &place.file("small.bin", 2 << 20));
    let big = place.file("big.bin", 40 << 20);
    for _ in 0..2 {
        let ran = place.run("disk/home", ["put", big.to_str().unwrap()]).exits(1);
        ran.says(["cannot put", "big.bin", "No space left on device"]);
    }
    place.run("disk/home", ["get", &kept, "-o", "out", "--offline"]).ok();
    assert_eq!(fs::read(place.path("out")).unwrap(), noise(2 << 20));
    // What the failed puts had stored is gone again, so a smaller file fits.
    place.put("disk/home", &place.file("smaller.bin", 4 << 20));
}

#[test]
fn a_full_disk_at_the_output_leaves_no_half_file() {
    let place = Place::new();
    let url = place.put("home", &place.file("in.bin", 4 << 20));
    let _disk = SmallDisk::mount(place.path("disk"), 2);
    let ran = place.run("home", ["get", &url, "-o", "disk/out"]).exits(1);
    ran.says(["cannot write the stream", "No space left on device"]);
    assert_eq!(fs::read_dir(place.path("disk")).unwrap().count(), 0);
}

/// Kills `get` and `share` at random moments: the store stays sound, and the next get completes.
#[test]
fn killing_get_and_share_at_any_moment_leaves_a_sound_store() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let place = Place::new();
    let file = place.file("in.bin", 16 << 20);
    let seeder = place.share("healthy", &file, []);
    for _ in 0..10 {
        for (home, args) in [
            ("got", ["get", &seeder.magnet, "-o", "out"]),
            ("shared", ["share", file.to_str().unwrap(), "--listen", "127.0.0.1:0"]),
        ] {
            let mut child = place
                .command(home, args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The wait is the experiment: a moment somewhere in the life of the process.
            std::thread::sleep(Duration::from_millis(rng.random_range(0..800)));
            kill("KILL", child.id());
            child.wait().unwrap();
            if place.path(home).join("catalog.redb").exists() {
                let ran = place.run(home, ["check", "--read-data", "--restart"]);
                assert!([Some(0), Some(3)].contains(&ran.0.status.code()), "{}", ran.stderr());
                assert!(ran.stdout().contains(" 0 damaged"), "{}", ran.stdout());
            }
        }
    }
    place.run("got", ["get", &seeder.magnet, "-o", "out"]).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(16 << 20));
}

#[test]
fn a_read_only_disk_is_said() {
    let place = Place::new();
    let disk = SmallDisk::mount(place.path("disk"), 24);
    let url = place.put("disk/home", &place.file("in.bin", 1 << 20));
    let remount = |how: &str| {
        let how = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &how]).arg(&disk.0).status().unwrap();
        assert!(done.success());
    };
    remount("ro");
    for args in [vec!["ls"], vec!["get", &url, "-o", "out"], vec!["put", "in.bin"]] {
        place.run("disk/home", args).exits(1).says(["Read-only file system", "disk/home"]);
    }
    remount("rw");
    place.run("disk/home", ["get", &url, "-o", "out", "--offline"]).ok();
}
