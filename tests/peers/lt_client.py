#!/usr/bin/python3
"""A BitTorrent client made of libtorrent: downloads one torrent, then seeds it until it is killed.

What happens is told on stdout, one JSON object a line, in this order:

    {"event": "listening", "port": 40123}
    {"event": "progress", "state": "downloading", "done": 0.25, "peers": 1}      (any number)
    {"event": "metadata"}                                               (by a magnet link only)
    {"event": "complete", "path": "/tmp/x/0b0cf6ec05bafd5b.off"}
    {"event": "called", "by": "10.0.1.1:40124"}            (whenever somebody connects to it)

"complete" is said once the file is on the disk and its pieces can be had. Everything stays on
loopback, or at the address that is told: no DHT and no local discovery unless they are asked for,
no port mapping, no peer exchange. Debian package: python3-libtorrent.
"""

import argparse
import json
import os
import sys

try:
    import libtorrent as lt
except ImportError:
    sys.exit("libtorrent for Python is missing: install the Debian package python3-libtorrent")

SETTINGS = {
    "enable_dht": False,
    # A network of a test is a handful of nodes at addresses alike.
    "dht_bootstrap_nodes": "",
    "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_upload_rate_limit": 1_000_000,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # offswarm speaks TCP only. libtorrent finds that out by itself, in five seconds.
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    # All peers of a test share one address.
    "allow_multiple_connections_per_ip": True,
    "announce_to_all_trackers": True,
    "announce_to_all_tiers": True,
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
    | lt.alert.category_t.storage_notification
    | lt.alert.category_t.peer_notification,
}

FAILURES = (lt.torrent_error_alert, lt.file_error_alert, lt.listen_failed_alert)


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--torrent", metavar="FILE")
    what.add_argument("--magnet", metavar="LINK")
    parser.add_argument("--folder", required=True, help="where the content goes")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="ADDR:PORT")
    parser.add_argument("--peer", action="append", default=[], metavar="ADDR:PORT")
    parser.add_argument("--dht", action="store_true", help="be a node of a DHT")
    parser.add_argument("--lsd", action="store_true", help="find peers on the network (BEP 14)")
    parser.add_argument("--node", action="append", default=[], metavar="ADDR:PORT")
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="take what is in the folder for the content and seed it, right or wrong",
    )
    return parser.parse_args()


def settings(args):
    return {
        **SETTINGS,
        "enable_dht": args.dht,
        "enable_lsd": args.lsd,
        "listen_interfaces": args.listen,
        "outgoing_interfaces": args.listen.rsplit(":", 1)[0],
        "disable_hash_checks": args.unchecked,
    }


def torrent(args):
    if args.magnet:
        wanted = lt.parse_magnet_uri(args.magnet)
    else:
        wanted = lt.add_torrent_params()
        wanted.ti = lt.torrent_info(args.torrent)
    wanted.save_path = args.folder
    wanted.peers = wanted.peers + [address(peer) for peer in args.peer]
    wanted.flags |= lt.torrent_flags.disable_pex
    wanted.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if args.unchecked:
        wanted.flags |= lt.torrent_flags.seed_mode
    return wanted


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def main():
    args = arguments()
    starter = os.getppid()
    session = lt.session(settings(args))
    for node in args.node:
        session.add_dht_node(address(node))
    handle = session.add_torrent(torrent(args))
    say("listening", port=session.listen_port())
    told, complete = None, False
    # Whoever started this may die without a word; then nobody is left to tell.
    while os.getppid() == starter:
        session.wait_for_alert(500)
        status = handle.status()
        state = (str(status.state), round(status.progress, 3), status.num_peers)
        if state != told:
            say("progress", state=state[0], done=state[1], peers=state[2])
            told = state
        for alert in session.pop_alerts():
            if isinstance(alert, FAILURES):
                sys.exit(alert.message())
            if isinstance(alert, lt.incoming_connection_alert):
                host, port = alert.endpoint
                say("called", by=f"{host}:{port}")
            if isinstance(alert, lt.metadata_received_alert):
                say("metadata")
            if isinstance(alert, lt.torrent_finished_alert):
                handle.flush_cache()
            if isinstance(alert, lt.cache_flushed_alert) and status.is_seeding and not complete:
                complete = True
                say("complete", path=handle.torrent_file().files().file_path(0, args.folder))


main()
