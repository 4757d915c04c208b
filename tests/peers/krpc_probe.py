#!/usr/bin/python3
"""A node of few words: sends the queries that it is told, and tells what comes back.

KRPC (BEP 5) without any code of offswarm, by which foreign nodes are asked, and ours can be. It is
told on stdin and answers on stdout, one JSON object a line:

    {"to": "10.0.2.1:6881", "datagram": "64..65"}
    {"answer": "64..65"}

The answer is the datagram with the same transaction id, or null if the node answers two pings that
were sent later instead. With "patience" it is null once so many seconds have passed.

    {"heard": "announce_peer"}
    {"queries": ["64..65"]}

tells what queries of a method have come in so far. It answers `ping`, `find_node`, `get_peers` and
`announce_peer`, and as an offswarm node would: with `off` beside the ordinary answer, unless it is
to be a stock node. It knows the nodes that it was started with. It ends when stdin does.
"""

import argparse
import json
import select
import socket
import sys
import time

# How long until a node is asked whether it is still there, and when it is given up.
ASK_AGAIN = 0.25
PATIENCE = 60
PINGS = 2
EXTENSION = {b"have": b"\xff", b"on": b"", b"p": 7000, b"v": 1}


def encode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(k) + encode(v) for k, v in sorted(value.items())) + b"e"


def decode(text, at=0):
    """The value that begins at an offset, and where it ends."""
    kind = text[at : at + 1]
    if kind == b"i":
        end = text.index(b"e", at)
        return int(text[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while text[at : at + 1] != b"e":
            item, at = decode(text, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), at + 1
    colon = text.index(b":", at)
    end = colon + 1 + int(text[at:colon])
    return text[colon + 1 : end], end


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Probe:
    def __init__(self, listen, id, nodes, stock):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(listen)
        self.id = id
        self.nodes = nodes
        self.stock = stock
        self.heard = []
        self.pings = 0

    def ask(self, to, datagram, patience):
        """The answer, once it comes or will not come any more."""
        wanted = decode(datagram)[0][b"t"]
        self.socket.sendto(datagram, to)
        given_up = time.monotonic() + (patience or PATIENCE)
        pings, answered, next_ping = set(), 0, time.monotonic() + ASK_AGAIN
        while time.monotonic() < given_up:
            if patience is None and time.monotonic() >= next_ping:
                pings.add(self.ping(to))
                next_ping += ASK_AGAIN
            message = self.receive(ASK_AGAIN / 5)
            if message is None or message[1] != to:
                continue
            transaction = decode(message[0])[0].get(b"t")
            if transaction == wanted:
                return message[0]
            answered += transaction in pings
            if answered == PINGS:
                return None
        if patience is None:
            sys.exit(f"{to} has fallen silent")
        return None

    def ping(self, to):
        self.pings += 1
        transaction = b"p%07d" % self.pings
        query = {b"a": {b"id": self.id}, b"q": b"ping", b"t": transaction, b"y": b"q"}
        self.socket.sendto(encode(query), to)
        return transaction

    def receive(self, seconds):
        """A response or an error that came in time, and from where. Queries are answered."""
        self.socket.settimeout(seconds)
        try:
            datagram, sender = self.socket.recvfrom(65536)
            message = decode(datagram)[0]
        except (OSError, ValueError):
            return None
        if message.get(b"y") != b"q":
            return datagram, sender
        self.answer(sender, message, datagram)
        return None

    def answer(self, sender, query, datagram):
        method = query[b"q"]
        self.heard.append((method.decode(), datagram))
        if method not in (b"ping", b"find_node", b"get_peers", b"announce_peer"):
            return
        response = {b"id": self.id}
        if not self.stock:
            response[b"off"] = EXTENSION
        if method in (b"find_node", b"get_peers"):
            response[b"nodes"] = self.nodes
        if method == b"get_peers":
            response[b"token"] = b"token"
        self.socket.sendto(encode({b"r": response, b"t": query[b"t"], b"y": b"r"}), sender)


def obey(probe, order):
    if "heard" in order:
        queries = [text.hex() for method, text in probe.heard if method == order["heard"]]
        return {"queries": queries}
    datagram = bytes.fromhex(order["datagram"])
    answer = probe.ask(address(order["to"]), datagram, order.get("patience"))
    return {"answer": answer and answer.hex()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", required=True, metavar="ADDR:PORT")
    parser.add_argument("--id", required=True, metavar="HEX")
    parser.add_argument("--nodes", default="", metavar="HEX", help="compact, as in BEP 5")
    parser.add_argument("--stock", action="store_true", help="know nothing of offswarm")
    args = parser.parse_args()
    id, nodes = bytes.fromhex(args.id), bytes.fromhex(args.nodes)
    probe = Probe(address(args.listen), id, nodes, args.stock)
    print(json.dumps({"listening": "%s:%d" % probe.socket.getsockname()}), flush=True)
    # Without a buffer, whose lines select would not see.
    orders = open(sys.stdin.fileno(), "rb", buffering=0)
    while True:
        if orders not in select.select([orders, probe.socket], [], [])[0]:
            probe.receive(0)
            continue
        line = orders.readline()
        if not line:
            return
        print(json.dumps(obey(probe, json.loads(line))), flush=True)


main()
