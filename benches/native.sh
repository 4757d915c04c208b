#!/usr/bin/env bash
# Prints how fast blocks go from offswarm to offswarm over loopback by the native peer protocol, beside
# our own BitTorrent swarm in the same run; from ten nodes with a third of the blocks each; and how
# long a single block takes.
#
#   SIZE=256M DIR=/dev/shm ROUNDS=5 bash benches/native.sh
#
# SIZE    bytes of the file that is put, K, M and G understood; its blocks are twice as many
# DIR     where all stores and files lie [/dev/shm if it is large enough, else $TMPDIR or /tmp]
# ROUNDS  transfers of each kind, one kind after the other in each round
#
# Needs Python 3 alone; builds offswarm. Everything it makes is gone when it ends.
set -euo pipefail
. "$(dirname "$0")/place.sh" native 16
python3 "$root/benches/native.py" "$program" "$place" "${ROUNDS:-5}"
