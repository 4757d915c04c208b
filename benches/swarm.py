#!/usr/bin/python3
"""The transfers of benches/swarm.sh, and the table of them.

    swarm.py PROGRAMS PLACE ROUNDS          all of it; PLACE/file is put and published first
    swarm.py seed TORRENT FOLDER            libtorrent: prints its port and serves the content
    swarm.py get TORRENT FOLDER PORT        libtorrent: prints the seconds of the download

What is timed is the download: for libtorrent and librqbit from adding the torrent until the last
piece is found right; for offswarm from the start of its process until the store has the last
block, which is when it begins to write the file (to a pipe, and nobody reads it on). Seeders run through all rounds
and have checked what they have. CPU seconds are those of both programs together.
"""

import os
import re
import select
import shutil
import statistics
import subprocess
import sys
import time

LOOPBACK = "127.0.0.1"
# Seconds after which a download is given up.
PATIENCE = 120
TICKS = os.sysconf("SC_CLK_TCK")
QUIET = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}


def libtorrent(what, torrent, folder, port=None):
    import libtorrent as lt

    session = lt.session({
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        # Over loopback, uTP is half as fast.
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True,
        "listen_interfaces": f"{LOOPBACK}:0",
        "alert_mask": lt.alert.category_t.status_notification,
    })
    wanted = lt.add_torrent_params()
    wanted.ti, wanted.save_path = lt.torrent_info(torrent), folder
    wanted.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if what == "seed":
        wanted.flags |= lt.torrent_flags.seed_mode
        session.add_torrent(wanted)
        print(session.listen_port(), flush=True)
        while True:
            time.sleep(60)
    wanted.peers = [(LOOPBACK, int(port))]
    start = time.monotonic()
    session.add_torrent(wanted)
    while True:
        session.wait_for_alert(1000)
        if any(isinstance(alert, lt.torrent_finished_alert) for alert in session.pop_alerts()):
            print(f"{time.monotonic() - start:.3f}", flush=True)
            # Nothing of what follows belongs to the download.
            os._exit(0)


class Bench:
    def __init__(self, programs, place):
        self.place = place
        self.offswarm = os.path.join(programs, "offswarm")
        self.rqbit = os.path.join(programs, "bench-rqbit")
        self.torrent = os.path.join(place, "content.torrent")
        self.seeders = {}

    def begin(self):
        """Puts the file, and starts the seeders."""
        content = os.path.join(self.place, "content")
        os.mkdir(content)
        home = ["--home", os.path.join(self.place, "home")]
        url = self.run([self.offswarm, *home, "put", "file"]).strip()
        # Other clients look for the content under the name that the torrent gives it.
        self.run([self.offswarm, *home, "pack", "export", "pack", "--urls", url])
        os.rename(os.path.join(self.place, "pack.torrent"), self.torrent)
        import libtorrent as lt

        path = lt.torrent_info(self.torrent).files().file_path(0, content)
        os.rename(os.path.join(self.place, "pack"), path)
        self.url, self.len = url, os.path.getsize(path)
        script = [sys.executable, os.path.abspath(__file__)]
        self.seed("offswarm", [self.offswarm, *home, "seed", url, "--listen", f"{LOOPBACK}:0"])
        self.seed("libtorrent", [*script, "seed", self.torrent, content])
        self.seed("librqbit", [self.rqbit, "seed", self.torrent, content])

    def run(self, command):
        return subprocess.run(command, cwd=self.place, check=True, timeout=PATIENCE, **QUIET).stdout

    def seed(self, name, command):
        process = subprocess.Popen(command, cwd=self.place, stdin=subprocess.DEVNULL, **QUIET)
        port = None
        while port is None:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{name} does not seed")
            port = re.search(r"^(\d+)$|127\.0\.0\.1(?::|%3A)(\d+)", line.strip())
        self.seeders[name] = (process, port.group(1) or port.group(2))

    def end(self):
        for process, _ in self.seeders.values():
            process.kill()
            process.wait()

    def transfer(self, seeder, leech):
        """One download: its seconds, and the CPU seconds of both sides."""
        process, port = self.seeders[seeder]
        folder = os.path.join(self.place, "leech")
        os.mkdir(folder)
        before, ours = cpu(process.pid), os.times()
        get = self.get_offswarm if leech == "offswarm" else self.get_other
        seconds = get(leech, folder, port)
        now = os.times()
        spent = now.children_user + now.children_system - ours.children_user - ours.children_system
        spent += cpu(process.pid) - before
        shutil.rmtree(folder)
        return seconds, spent

    def get_other(self, leech, folder, port):
        script = [sys.executable, os.path.abspath(__file__)]
        program = {"libtorrent": script, "librqbit": [self.rqbit]}[leech]
        command = [*program, "get", self.torrent, folder, port]
        return float(self.run(command))

    def get_offswarm(self, _, folder, port):
        command = [self.offswarm, "--home", folder, "get", self.url]
        command += ["--swarm-only", "--torrent", self.torrent, "--peer", f"{LOOPBACK}:{port}"]
        return until_all_is_here(command, folder)


def until_all_is_here(command, folder):
    """Seconds from the start of a get until its store has the last block."""
    fifo = os.path.join(folder, "fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    start = time.monotonic()
    quiet = {**QUIET, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*command, "-o", fifo], **quiet)
    # The first bytes of the file come when all blocks are there.
    while not select.select([reader], [], [], 1)[0] or not readable(reader):
        if process.poll() is not None or time.monotonic() - start > PATIENCE:
            process.kill()
            sys.exit(f"offswarm does not get the file: {process.communicate()[1]}")
    seconds = time.monotonic() - start
    os.close(reader)
    process.communicate()
    return seconds


def readable(reader):
    try:
        return len(os.read(reader, 1)) == 1
    except BlockingIOError:
        return False


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


PAIRS = [
    ("libtorrent", "libtorrent"),
    ("librqbit", "librqbit"),
    ("offswarm", "offswarm"),
    ("offswarm", "libtorrent"),
    ("libtorrent", "offswarm"),
]


def main(programs, place, rounds):
    bench = Bench(programs, place)
    rounds = int(rounds)
    try:
        bench.begin()
        speeds = {pair: [] for pair in PAIRS}
        spent = {pair: [] for pair in PAIRS}
        for number in range(rounds):
            # Nobody is always the one after the slowest.
            for pair in PAIRS[number % len(PAIRS) :] + PAIRS[: number % len(PAIRS)]:
                seconds, used = bench.transfer(*pair)
                speeds[pair].append(bench.len / seconds / 1e6)
                spent[pair].append(used)
    finally:
        bench.end()
    print(f"{bench.len // 131072} blocks, {bench.len / 2**20:.0f} MiB; {rounds} rounds; MB is 10^6 bytes\n")
    print("| seeder -> downloader | min MB/s | median MB/s | max MB/s | CPU s |")
    print("|---|---|---|---|---|")
    median = {pair: statistics.median(speeds[pair]) for pair in PAIRS}
    for pair in PAIRS:
        low, high = min(speeds[pair]), max(speeds[pair])
        used = statistics.median(spent[pair])
        print(f"| {' -> '.join(pair)} | {low:.0f} | {median[pair]:.0f} | {high:.0f} | {used:.2f} |")
    own = median["offswarm", "offswarm"]
    for other in ("libtorrent", "librqbit"):
        print(f"\noffswarm to offswarm is {own / median[other, other]:.2f} of {other} to {other}", end="")
    print()


if __name__ == "__main__":
    if sys.argv[1] in ("seed", "get"):
        libtorrent(*sys.argv[1:])
    else:
        main(*sys.argv[1:])
