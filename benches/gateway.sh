#!/usr/bin/env bash
# Prints how fast the gateway of `offswarm serve` serves an OFF URL whose blocks are here, beside `get`
# of the same URL and `curl` of a plain file in the same run; with one client and with many at once;
# how much memory the daemon takes meanwhile; and how long a seek takes.
#
#   SIZE=256M DIR=/dev/shm ROUNDS=5 CLIENTS=8 bash benches/gateway.sh
#
# SIZE     bytes of the file that is put, K, M and G understood
# DIR      where the store and the files lie [/dev/shm if it is large enough, else $TMPDIR or /tmp]
# ROUNDS   transfers of each kind, one kind after the other in each round
# CLIENTS  clients at once
#
# Needs Python 3 and curl; builds offswarm. Everything it makes is gone when it ends.
set -euo pipefail
. "$(dirname "$0")/place.sh" gateway 8
python3 "$root/benches/gateway.py" "$program" "$place" "${ROUNDS:-5}" "${CLIENTS:-8}"
