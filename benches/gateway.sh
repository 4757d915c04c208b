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
# Nothing is looked for outside.
export OFFSWARM_NO_DHT=true

size=$(numfmt --from=iec "${SIZE:-256M}")
root=$(cd "$(dirname "$0")/.." && pwd)

room() { df --output=avail -B1 "$1" 2>/dev/null | tail -1; }
if [ -z "${DIR:-}" ]; then
    DIR=${TMPDIR:-/tmp}
    [ -d /dev/shm ] && [ "$(room /dev/shm)" -gt $((8 * size)) ] && DIR=/dev/shm
fi

target=$(cargo metadata --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
cargo build --release --quiet --locked --bins --target-dir "$target" \
    --manifest-path "$root/Cargo.toml"

place=$(mktemp -d "$DIR/gateway.XXXXXX")
trap 'rm -rf "$place"' EXIT
head -c "$size" /dev/urandom >"$place/file"
echo "$(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), load" \
    "$(cut -d' ' -f1 /proc/loadavg); everything in $DIR ($(stat -f -c %T "$DIR"))"
python3 "$root/benches/gateway.py" "$target/release/offswarm" "$place" "${ROUNDS:-5}" "${CLIENTS:-8}"
