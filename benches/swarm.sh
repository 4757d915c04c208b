#!/usr/bin/env bash
# Prints how fast blocks go from client to client over loopback: offswarm, libtorrent and librqbit,
# all with the same torrent, in one run.
#
#   SIZE=256M DIR=/dev/shm ROUNDS=5 bash benches/swarm.sh
#
# SIZE    bytes of the file that is put, K, M and G understood; its blocks are twice as many
# DIR     where all stores and files lie [/dev/shm if it is large enough, else $TMPDIR or /tmp]
# ROUNDS  transfers of each pair, one pair after the other in each round
#
# Needs libtorrent for Python (Debian: python3-libtorrent); builds offswarm, and librqbit by
# benches/rqbit. Everything it makes is gone when it ends.
set -euo pipefail
# Nothing is looked for outside.
export OFFSWARM_NO_DHT=true

size=$(numfmt --from=iec "${SIZE:-256M}")
root=$(cd "$(dirname "$0")/.." && pwd)
python=/usr/bin/python3

room() { df --output=avail -B1 "$1" 2>/dev/null | tail -1; }
if [ -z "${DIR:-}" ]; then
    DIR=${TMPDIR:-/tmp}
    [ -d /dev/shm ] && [ "$(room /dev/shm)" -gt $((12 * size)) ] && DIR=/dev/shm
fi
"$python" -c 'import libtorrent' 2>/dev/null ||
    { echo "swarm.sh needs the Debian package python3-libtorrent" >&2; exit 1; }

target=$(cargo metadata --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
for manifest in "$root/Cargo.toml" "$root/benches/rqbit/Cargo.toml"; do
    cargo build --release --quiet --locked --bins --target-dir "$target" --manifest-path "$manifest"
done

place=$(mktemp -d "$DIR/swarm.XXXXXX")
trap 'rm -rf "$place"' EXIT
head -c "$size" /dev/urandom >"$place/file"
echo "$(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), load" \
    "$(cut -d' ' -f1 /proc/loadavg); everything in $DIR ($(stat -f -c %T "$DIR"))"
"$python" "$root/benches/swarm.py" "$target/release" "$place" "${ROUNDS:-5}"
