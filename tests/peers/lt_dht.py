#!/usr/bin/python3
"""Nodes made of libtorrent, in one process, that do what they are told: a DHT without our code.

    lt_dht.py 127.1.0.10:0 127.2.0.10:0

Each node has an address that no other shares the first three bytes of, as many nodes take those for
one. They know each other once they are told. What is told on stdin is one JSON object a line, with
the number of the node, counted from 0; salt and value are text, else bytes are hexadecimal:

    {"node": 0, "do": "add_node", "address": "127.2.0.10:40123"}
    {"node": 0, "do": "state"}
    {"node": 0, "do": "get_peers", "infohash": ".."}
    {"node": 0, "do": "announce", "infohash": ".."}
    {"node": 0, "do": "put_immutable", "value": "x"}
    {"node": 0, "do": "get_immutable", "target": ".."}
    {"node": 0, "do": "put_mutable", "seed": "..", "salt": "x", "value": "x"}
    {"node": 0, "do": "get_mutable", "key": "..", "salt": "x"}
    {"node": 0, "do": "add_torrent", "what": "FILE or magnet link", "folder": "/tmp/x"}

What happens is told on stdout, one JSON object a line, first of all where each node listens:

    {"event": "listening", "addresses": ["127.1.0.10:40123", "127.2.0.10:40124"]}
    {"event": "state", "node": 0, "nodes": 1}
    {"event": "peers", "node": 0, "infohash": "..", "peers": ["127.3.0.10:7000"]}
    {"event": "put", "node": 0, "target": "..", "key": "..", "salt": "x", "stored": 1}
    {"event": "immutable", "node": 0, "target": "..", "value": "x", "told": ".."}
    {"event": "mutable", "node": 0, "key": "..", "salt": "x", "seq": 1, "value": "x", "told": ".."}
    {"event": "complete", "node": 0, "infohash": ".."}

"peers" comes for each node that has some. What is announced is the node's own port: the binding
lacks the flags that `dht_announce` wants, so a torrent that nobody has is added. A value is null if
none was found, or if it is no text; then what libtorrent says of it is in "told".
All ends when stdin does. Debian package: python3-libtorrent.
"""

import argparse
import hashlib
import json
import select
import sys

try:
    import libtorrent as lt
except ImportError:
    sys.exit("libtorrent for Python is missing: install the Debian package python3-libtorrent")

LOOK_EVERY = 0.05
SETTINGS = {
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
    | lt.alert.category_t.dht_notification
    | lt.alert.category_t.dht_operation_notification,
    "allow_multiple_connections_per_ip": True,
    "dht_aggressive_lookups": True,
    "dht_block_ratelimit": 1_000,
    "dht_bootstrap_nodes": "",
    "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_upload_rate_limit": 1_000_000,
    "enable_dht": True,
    "enable_incoming_utp": False,
    "enable_lsd": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_upnp": False,
}

FIELD = 2**255 - 19
ORDER_OF_CURVE = -121665 * pow(121666, -1, FIELD)
BASE_Y = 4 * pow(5, -1, FIELD) % FIELD
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def key_pair(seed):
    """The expanded secret key and the public key (RFC 8032, 5.1.5)."""
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    x, y = multiple(int.from_bytes(digest[:32], "little"), (BASE_X, BASE_Y))
    return bytes(digest), (y | (x & 1) << 255).to_bytes(32, "little")


def multiple(scalar, point):
    product = (0, 1)
    while scalar:
        if scalar & 1:
            product = sum_of(product, point)
        point = sum_of(point, point)
        scalar >>= 1
    return product


def sum_of(one, other):
    (x1, y1), (x2, y2) = one, other
    twist = ORDER_OF_CURVE * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + twist, -1, FIELD)
    y = (y1 * y2 + x1 * x2) * pow(1 - twist, -1, FIELD)
    return x % FIELD, y % FIELD


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def infohash(text):
    return lt.sha1_hash(bytes.fromhex(text))


class Node:
    def __init__(self, number, listen):
        self.number = number
        host = listen.rsplit(":", 1)[0]
        settings = {**SETTINGS, "listen_interfaces": listen, "outgoing_interfaces": host}
        self.session = lt.session(settings)
        self.address = f"{host}:{self.session.listen_port()}"

    def say(self, event, **details):
        say(event, node=self.number, **details)

    def add_node(self, order):
        self.session.add_dht_node(address(order["address"]))

    def state(self, _):
        self.session.post_session_stats()

    def get_peers(self, order):
        self.session.dht_get_peers(infohash(order["infohash"]))

    def announce(self, order):
        self.add_torrent({"what": f"magnet:?xt=urn:btih:{order['infohash']}", "folder": "/"})

    def put_immutable(self, order):
        self.session.dht_put_immutable_item(order["value"])

    def get_immutable(self, order):
        self.session.dht_get_immutable_item(infohash(order["target"]))

    def put_mutable(self, order):
        secret, public = key_pair(bytes.fromhex(order["seed"]))
        salt = order.get("salt", "").encode()
        self.session.dht_put_mutable_item(secret, public, order["value"].encode(), salt)

    def get_mutable(self, order):
        salt = order.get("salt", "").encode()
        self.session.dht_get_mutable_item(bytes.fromhex(order["key"]), salt)

    def add_torrent(self, order):
        if order["what"].startswith("magnet:"):
            wanted = lt.parse_magnet_uri(order["what"])
        else:
            wanted = lt.add_torrent_params()
            wanted.ti = lt.torrent_info(order["what"])
        wanted.save_path = order["folder"]
        wanted.flags |= lt.torrent_flags.disable_pex
        wanted.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        self.session.add_torrent(wanted)

    def tell_news(self):
        for alert in self.session.pop_alerts():
            tell = TELL.get(type(alert))
            if tell:
                tell(self, alert)


def tell_state(node, alert):
    node.say("state", nodes=alert.values["dht.dht_nodes"])


def tell_put(node, alert):
    details = {"target": alert.target.to_bytes().hex(), "stored": alert.num_success}
    if any(alert.public_key):
        details.update(key=alert.public_key.hex(), salt=alert.salt)
    node.say("put", **details)


def tell_immutable(node, alert):
    target = alert.target.to_bytes().hex()
    node.say("immutable", target=target, value=value(alert), told=alert.message())


def tell_mutable(node, alert):
    # What is told meanwhile may be old.
    if alert.authoritative:
        names = {"key": alert.key.hex(), "salt": alert.salt}
        node.say("mutable", **names, seq=alert.seq, value=value(alert), told=alert.message())


def tell_peers(node, alert):
    if alert.num_peers:
        peers = [f"{host}:{port}" for host, port in alert.peers()]
        node.say("peers", infohash=alert.info_hash.to_bytes().hex(), peers=peers)


def tell_complete(node, alert):
    node.say("complete", infohash=alert.handle.info_hash().to_bytes().hex())


def fail(node, alert):
    sys.exit(alert.message())


def value(alert):
    try:
        return alert.item["value"].decode(errors="replace") or None
    except RuntimeError:
        # The binding reads nothing but text.
        return None


TELL = {
    lt.session_stats_alert: tell_state,
    lt.dht_put_alert: tell_put,
    lt.dht_immutable_item_alert: tell_immutable,
    lt.dht_mutable_item_alert: tell_mutable,
    lt.dht_get_peers_reply_alert: tell_peers,
    lt.torrent_finished_alert: tell_complete,
    lt.torrent_error_alert: fail,
    lt.file_error_alert: fail,
    lt.listen_failed_alert: fail,
}

ORDERS = (
    "add_node state get_peers announce put_immutable get_immutable put_mutable get_mutable "
    "add_torrent"
).split()


def obey(nodes, line):
    order = json.loads(line)
    if order["do"] not in ORDERS:
        sys.exit(f"no order: {line}")
    getattr(nodes[order["node"]], order["do"])(order)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("listen", nargs="+", metavar="ADDR:PORT")
    nodes = [Node(number, at) for number, at in enumerate(parser.parse_args().listen)]
    # Without a buffer, whose lines select would not see.
    orders = open(sys.stdin.fileno(), "rb", buffering=0)
    say("listening", addresses=[node.address for node in nodes])
    while True:
        if select.select([orders], [], [], LOOK_EVERY)[0]:
            line = orders.readline()
            if not line:
                return
            obey(nodes, line)
        for node in nodes:
            node.tell_news()


main()
