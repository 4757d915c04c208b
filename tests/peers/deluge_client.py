#!/usr/bin/python3
"""Steers a Deluge daemon: adds one torrent, and tells how it gets on with it until it is killed.

What happens is told on stdout, one JSON object a line, in this order:

    {"event": "added"}
    {"event": "progress", "state": "Downloading", "done": 25.0, "peers": 1}      (any number)
    {"event": "metadata"}
    {"event": "complete"}

Deluge's RPC is rencoded messages, compressed, behind a version byte and a length, over TLS:
https://deluge.readthedocs.io/en/latest/reference/rpc.html
Debian package: deluged, which brings rencode.
"""

import argparse
import base64
import json
import os
import socket
import ssl
import struct
import sys
import time
import zlib

try:
    import rencode
except ImportError:
    sys.exit("rencode for Python is missing: install the Debian package deluged")

VERSION = "2.0.3"
HEADER = struct.Struct("!BL")
RESPONSE = 1
PATIENCE = 120
LOOK_EVERY = 0.05


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


class Daemon:
    def __init__(self, port):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # It made its certificate itself, a moment ago.
        context.verify_mode = ssl.CERT_NONE
        self.stream = context.wrap_socket(connect(port))
        self.asked = 0
        self.call("daemon.login", "matrix", "matrix", client_version=VERSION)

    def call(self, method, *args, **kwargs):
        self.asked += 1
        request = zlib.compress(rencode.dumps(((self.asked, method, args, kwargs),)))
        self.stream.sendall(HEADER.pack(1, len(request)) + request)
        while True:
            answer = self.message()
            # Events come unasked.
            if answer[0] == RESPONSE and answer[1] == self.asked:
                return answer[2]
            if answer[1] == self.asked:
                sys.exit(f"{method}: {answer[2:]}")

    def message(self):
        _, length = HEADER.unpack(self.exactly(HEADER.size))
        return rencode.loads(zlib.decompress(self.exactly(length)), decode_utf8=True)

    def exactly(self, length):
        got = b""
        while len(got) < length:
            part = self.stream.recv(length - len(got))
            if not part:
                sys.exit("deluged hung up")
            got += part
        return got


def connect(port):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_EVERY)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--torrent", metavar="FILE")
    what.add_argument("--magnet", metavar="LINK")
    parser.add_argument("--port", type=int, required=True, help="the daemon's, on loopback")
    parser.add_argument("--peer", action="append", default=[], metavar="ADDR:PORT")
    return parser.parse_args()


def add(daemon, args):
    if args.magnet:
        return daemon.call("core.add_torrent_magnet", args.magnet, {})
    with open(args.torrent, "rb") as file:
        contents = base64.b64encode(file.read()).decode()
    return daemon.call("core.add_torrent_file", "blocks.torrent", contents, {})


def main():
    args = arguments()
    starter = os.getppid()
    daemon = Daemon(args.port)
    torrent = add(daemon, args)
    for peer in args.peer:
        host, port = peer.rsplit(":", 1)
        daemon.call("core.connect_peer", torrent, host, int(port))
    say("added")
    keys = ["state", "progress", "num_peers", "num_pieces", "is_seed", "message"]
    told, metadata, complete = None, False, False
    # Whoever started this may die without a word; then nobody is left to tell.
    while os.getppid() == starter:
        status = daemon.call("core.get_torrent_status", torrent, keys)
        state = (status["state"], status["progress"], status["num_peers"])
        if state != told:
            say("progress", state=state[0], done=state[1], peers=state[2])
            told = state
        if status["state"] == "Error":
            sys.exit(status["message"])
        if status["num_pieces"] and not metadata:
            metadata = True
            say("metadata")
        if status["state"] == "Seeding" and status["is_seed"] and not complete:
            complete = True
            say("complete")
        time.sleep(LOOK_EVERY)


main()
