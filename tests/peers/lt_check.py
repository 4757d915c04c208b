#!/usr/bin/python3
"""What libtorrent makes of a torrent and of its content file.

One JSON object on stdout:

    {"v1": "<40 hex>" or null, "v2": "<64 hex>" or null, "name": "x.off", "size": 786432,
     "files": 1, "pieces": 6, "piece_length": 131072, "layers": true, "complete": true}

"layers" says whether the piece layers came with the torrent and are right; "complete" whether the
content file in --folder was found right, piece by piece. With --magnet only the hashes are said.
Nothing listens and nobody is contacted. Debian package: python3-libtorrent.
"""

import argparse
import json
import sys

try:
    import libtorrent as lt
except ImportError:
    sys.exit("libtorrent for Python is missing: install the Debian package python3-libtorrent")

SETTINGS = {
    "listen_interfaces": "",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
    | lt.alert.category_t.storage_notification,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--torrent", metavar="FILE")
    what.add_argument("--magnet", metavar="LINK")
    parser.add_argument("--folder", help="where the content file is")
    return parser.parse_args()


def hashes(info):
    v1, v2 = info.has_v1(), info.has_v2()
    return {"v1": str(info.v1) if v1 else None, "v2": str(info.v2) if v2 else None}


def check(torrent, folder):
    session = lt.session(SETTINGS)
    wanted = lt.add_torrent_params()
    wanted.ti = torrent
    wanted.save_path = folder
    wanted.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    wanted.flags |= lt.torrent_flags.upload_mode
    handle = session.add_torrent(wanted)
    while True:
        session.wait_for_alert(500)
        for alert in session.pop_alerts():
            if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
                sys.exit(alert.message())
            if isinstance(alert, lt.torrent_checked_alert):
                status = handle.status(0xFFFFFFFF)
                return status.num_pieces == torrent.num_pieces() and all(status.pieces)


def main():
    args = arguments()
    if args.magnet:
        print(json.dumps(hashes(lt.parse_magnet_uri(args.magnet).info_hashes)))
        return
    # A torrent whose piece layers do not lead to their roots does not load.
    torrent = lt.torrent_info(args.torrent)
    files = torrent.files()
    with open(args.torrent, "rb") as file:
        layers = lt.bdecode(file.read()).get(b"piece layers")
    told = {
        **hashes(torrent.info_hashes()),
        "name": torrent.name(),
        "size": torrent.total_size(),
        "files": files.num_files(),
        "pieces": torrent.num_pieces(),
        "piece_length": torrent.piece_length(),
        "layers": bool(layers) and torrent.is_valid(),
        "complete": check(torrent, args.folder),
    }
    print(json.dumps(told))


main()
