#!/usr/bin/env python3
"""The transfers of benches/native.sh, and the table of them.

    native.py PROGRAM PLACE ROUNDS          PLACE/file is put first

What is timed is the download: from the start of the process until the store has the last block, which
is when it begins to write the file (to a pipe, and nobody reads it on). Nodes run through all rounds.
CPU seconds are those of all programs together. Single blocks are asked for one after the other by a
client of this file's own, which checks their SHA-256 and speaks nothing but the protocol.
"""

import hashlib
import os
import random
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time

from swarm import LOOPBACK, PATIENCE, QUIET, cpu, until_all_is_here

BLOCK = 131_072
NODES = 10
SINGLE = 2_000
# js-offs fetches so many blocks a second, one after the other (128,000 bytes each).
JS_OFFS = 141


class Bench:
    def __init__(self, program, place):
        self.program, self.place, self.nodes = program, place, []

    def run(self, home, *args):
        command = [self.program, "--home", os.path.join(self.place, home), *args]
        return subprocess.run(
            command, cwd=self.place, check=True, timeout=PATIENCE, **QUIET
        ).stdout.strip()

    def begin(self):
        """Puts the file and starts the node with everything and those with a third of it."""
        self.url = self.run("full", "put", "file")
        self.run("full", "pack", "export", "pack", "--urls", self.url)
        self.pack = os.path.join(self.place, "pack")
        self.blocks = os.path.getsize(self.pack) // BLOCK
        self.full = self.seed("full", self.url)
        chance = random.Random(1)
        shares = [[] for _ in range(NODES)]
        for block in range(self.blocks):
            # Three or four nodes each: a third on the average, and every block is somewhere.
            for node in chance.sample(range(NODES), 3 + (chance.random() < 1 / 3)):
                shares[node].append(block)
        with open(self.pack, "rb") as pack:
            for number, share in enumerate(shares):
                self.thirds(number, share, pack)

    def publish(self, torrent):
        """The URL's torrent, made by a store of its own: that of the node is in use."""
        shutil.copytree(os.path.join(self.place, "full"), os.path.join(self.place, "copy"))
        self.run("copy", "publish", self.url, "--torrent-out", torrent)
        shutil.rmtree(os.path.join(self.place, "copy"))

    def thirds(self, number, share, pack):
        home, part = f"third{number}", f"third{number}.off"
        with open(os.path.join(self.place, part), "wb") as out:
            for block in share:
                pack.seek(block * BLOCK)
                out.write(pack.read(BLOCK))
        self.run(home, "pack", "adopt", part)
        self.seed(home, "--store")

    def seed(self, home, what):
        command = [self.program, "--home", os.path.join(self.place, home), "seed", what]
        command += ["--listen", f"{LOOPBACK}:0", "--json", "--report", "1s"]
        process = subprocess.Popen(command, cwd=self.place, stdin=subprocess.DEVNULL, **QUIET)
        port = None
        while port is None:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{home} does not seed")
            port = re.search(r'"listen":"127\.0\.0\.1:(\d+)"', line)
        # Nobody reads on: reports must not fill the pipe.
        subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        self.nodes.append((process, int(port.group(1))))
        return self.nodes[-1]

    def end(self):
        for process, _ in self.nodes:
            process.kill()
            process.wait()

    def get(self, nodes, *how):
        """One download: its seconds, and the CPU seconds of all sides."""
        folder = os.path.join(self.place, "leech")
        os.mkdir(folder)
        command = [self.program, "--home", folder, "get", self.url, *how]
        for _, port in nodes:
            command += ["--peer" if "--swarm-only" in how else "--native-peer", f"{LOOPBACK}:{port}"]
        before, ours = sum(cpu(process.pid) for process, _ in nodes), os.times()
        seconds = until_all_is_here(command, folder)
        now = os.times()
        spent = now.children_user + now.children_system - ours.children_user - ours.children_system
        spent += sum(cpu(process.pid) for process, _ in nodes) - before
        shutil.rmtree(folder)
        return seconds, spent


class Peer:
    """A native peer that asks for single blocks."""

    NAMES = ["off_ask", "off_have", "off_want", "off_block", "off_lack", "off_cancel", "off_push"]

    def __init__(self, port):
        self.socket = socket.create_connection((LOOPBACK, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        native = hashlib.sha1(b"offswarm native 1").digest()
        shake = b"\x13BitTorrent protocol" + bytes([0, 0, 0, 0, 0, 0x10, 0, 0]) + native
        self.socket.sendall(shake + b"-XX0001-" + os.urandom(12))
        self.file = self.socket.makefile("rb")
        self.file.read(68)
        names = sorted((name, number) for number, name in enumerate(self.NAMES, 1))
        numbers = b"".join(b"%d:%si%de" % (len(n), n.encode(), k) for n, k in names)
        self.say(0, b"d1:md" + numbers + b"e3:offd1:hi0e1:vi1ee4:reqqi4ee")
        hello = self.hear(0)
        self.want = int(re.search(rb"8:off_wanti(\d+)e", hello).group(1))

    def say(self, number, body):
        self.socket.sendall(struct.pack(">IBB", len(body) + 2, 20, number) + body)

    def hear(self, number):
        while True:
            (length,) = struct.unpack(">I", self.file.read(4))
            body = self.file.read(length)
            if length > 1 and body[0] == 20 and body[1] == number:
                return body[2:]

    def fetch(self, block):
        self.say(self.want, b"d3:ids32:" + block + b"e")
        # Ours for off_block.
        answer = self.hear(4)
        assert answer[:8] == b"d2:id32:" and answer[8:40] == block
        return answer[41:]


def single_blocks(bench):
    """Milliseconds of each of some blocks, asked for one after the other."""
    with open(bench.pack, "rb") as pack:
        chosen = sorted(random.Random(2).sample(range(bench.blocks), min(SINGLE, bench.blocks)))
        ids = []
        for block in chosen:
            pack.seek(block * BLOCK)
            ids.append(hashlib.sha256(pack.read(BLOCK)).digest())
    random.Random(3).shuffle(ids)
    peer, took = Peer(bench.full[1]), []
    for block in ids:
        start = time.monotonic()
        contents = peer.fetch(block)
        took.append((time.monotonic() - start) * 1_000)
        assert hashlib.sha256(contents).digest() == block
    return sorted(took)


def main(program, place, rounds):
    bench, rounds = Bench(program, place), int(rounds)
    # The swarm is known by the torrent alone.
    torrent = os.path.join(place, "it.torrent")
    kinds = [
        ("swarm, one seeder", lambda: bench.get([bench.full], "--swarm-only", "--torrent", torrent)),
        ("native, one node", lambda: bench.get([bench.full], "--native-only")),
        (f"native, {NODES} nodes with a third each", lambda: bench.get(bench.nodes[1:], "--native-only")),
    ]
    try:
        bench.begin()
        bench.publish(torrent)
        took = {name: [] for name, _ in kinds}
        for number in range(rounds):
            for name, get in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
                took[name].append(get())
        single = single_blocks(bench)
    finally:
        bench.end()
    show(bench, kinds, took, single, rounds)


def show(bench, kinds, took, single, rounds):
    size = bench.blocks * BLOCK
    print(f"{bench.blocks} blocks, {size / 2**20:.0f} MiB; {rounds} rounds; MB is 10^6 bytes\n")
    print("| transfer | min MB/s | median MB/s | max MB/s | blocks/s | CPU s |")
    print("|---|---|---|---|---|---|")
    median = {}
    for name, _ in kinds:
        speeds = [size / seconds / 1e6 for seconds, _ in took[name]]
        median[name] = statistics.median(speeds)
        used = statistics.median(spent for _, spent in took[name])
        blocks = median[name] * 1e6 / BLOCK
        print(
            f"| {name} | {min(speeds):.0f} | {median[name]:.0f} | {max(speeds):.0f} "
            f"| {blocks:.0f} | {used:.2f} |"
        )
    swarm, native, thirds = (median[name] for name, _ in kinds)
    print(f"\nnative is {native / swarm:.2f} of the swarm; {NODES} thirds take {native / thirds:.2f} times one node's time")
    at = lambda share: single[min(len(single) - 1, int(len(single) * share))]
    print(
        f"{len(single)} single blocks, one after the other: p50 {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, "
        f"{1_000 * len(single) / sum(single):.0f} blocks/s"
    )
    blocks = native * 1e6 / BLOCK
    print(f"blocks a second: {blocks:.0f}, {blocks / JS_OFFS:.1f} times the {JS_OFFS} of js-offs (as it was measured before)")


if __name__ == "__main__":
    main(*sys.argv[1:4])
