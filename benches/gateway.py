#!/usr/bin/env python3
"""The transfers of benches/gateway.sh, and the table of them.

    gateway.py PROGRAM PLACE ROUNDS CLIENTS          PLACE/file is put first

A transfer is timed from the start of its program to its end; it writes to a pipe that is read to the
end and hashed where that is said. The plain file is served by Python's own `http.server`, as the
measure of what curl and the machine can do.
"""

import functools
import hashlib
import http.server
import os
import statistics
import subprocess
import sys
import threading
import time

PATIENCE = 600
QUIET = {"stderr": subprocess.DEVNULL, "text": True}
SEEKS = 50


class Plain(http.server.SimpleHTTPRequestHandler):
    """Sends a file in large parts, and says nothing."""

    def copyfile(self, source, outputfile):
        self.wfile.flush()
        self.connection.sendfile(source)

    def log_message(self, *_):
        pass


def serve_plain(folder):
    handler = functools.partial(Plain, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/file"


def status(process, what):
    with open(f"/proc/{process}/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    raise RuntimeError(what)


class Bench:
    def __init__(self, program, place):
        self.program, self.home = program, os.path.join(place, "home")
        self.place, self.size = place, os.path.getsize(os.path.join(place, "file"))
        with open(os.path.join(place, "file"), "rb") as file:
            self.sum = hashlib.file_digest(file, "sha256").hexdigest()

    def begin(self):
        base = [self.program, "--home", self.home]
        put = [*base, "put", os.path.join(self.place, "file")]
        url = subprocess.run(put, check=True, stdout=subprocess.PIPE, **QUIET).stdout.strip()
        serve = [*base, "serve", "--http-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]
        self.daemon = subprocess.Popen(serve, stdout=subprocess.PIPE, **QUIET)
        address = self.daemon.stdout.readline().strip()
        self.url, self.typed = address + url.removeprefix("http://localhost:23402/"), url

    def time(self, command):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE, **QUIET)
        return time.monotonic() - began

    def together(self, url, clients):
        """Seconds for many at once, each of whose bytes are hashed."""
        began = time.monotonic()
        curls = [
            subprocess.Popen(["curl", "-sf", url], stdout=subprocess.PIPE) for _ in range(clients)
        ]
        sums = [None] * clients

        def hash_one(number, curl):
            sums[number] = hashlib.file_digest(curl.stdout, "sha256").hexdigest()

        threads = [
            threading.Thread(target=hash_one, args=pair) for pair in enumerate(curls)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for curl in curls:
            if curl.wait() != 0:
                raise RuntimeError("a client was cut off")
        if any(one != self.sum for one in sums):
            raise RuntimeError("a client got other bytes")
        return time.monotonic() - began

    def seeks(self):
        """Milliseconds until the first byte of single ranges all over the file."""
        found = []
        for number in range(SEEKS):
            at = (number * 7_919) % SEEKS * self.size // SEEKS
            curl = ["curl", "-sf", "-r", f"{at}-{at + 65_535}", "-o", "/dev/null"]
            told = subprocess.run(
                [*curl, "-w", "%{time_starttransfer}", self.url],
                check=True,
                stdout=subprocess.PIPE,
                **QUIET,
            )
            found.append(float(told.stdout) * 1_000)
        return sorted(found)

    def end(self):
        self.daemon.terminate()
        if self.daemon.wait(timeout=PATIENCE) != 0:
            raise RuntimeError("the daemon did not end well")


def main(program, place, rounds, clients):
    bench = Bench(program, place)
    bench.begin()
    plain = serve_plain(place)
    kinds = {
        "curl of a plain file": lambda: bench.time(["curl", "-sf", plain]),
        "get, by the daemon": lambda: bench.time(
            [program, "--home", bench.home, "get", bench.typed, "-o", "-"]
        ),
        "gateway, 1 client": lambda: bench.time(["curl", "-sf", bench.url]),
        f"gateway, {clients} clients": lambda: bench.together(bench.url, clients) / clients,
    }
    rates = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, run in kinds.items():
            rates[kind].append(bench.size / run() / 1e6)
    print("| transfer | min MB/s | median MB/s | max MB/s |\n|---|---|---|---|")
    for kind, found in rates.items():
        print(f"| {kind} | {min(found):.0f} | {statistics.median(found):.0f} | {max(found):.0f} |")
    seeks = bench.seeks()
    process = bench.daemon.pid
    print(f"\nall {clients} clients got the same bytes; a range of 64 KiB begins after")
    print(f"{seeks[len(seeks) // 2]:.1f} ms (median) and {seeks[-1]:.1f} ms (longest of {SEEKS});")
    print(f"resident size of the daemon {status(process, 'VmRSS'):.0f} MiB,", end=" ")
    print(f"peak {status(process, 'VmHWM'):.0f} MiB")
    bench.end()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
