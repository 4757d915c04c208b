#!/usr/bin/env bash
# Prints put and get of one file of random bytes beside programs everybody knows, in one run.
#
#   SIZE=1G DIR=/dev/shm RUNS=3 bash benches/compare.sh
#
# SIZE  bytes of the file, K, M and G understood; up to 6 times as much room is needed in DIR
# DIR   where file and store lie [/dev/shm if it is large enough, else $TMPDIR or /tmp]
# RUNS  every line is the fastest of so many runs
#
# Needs GNU time, GNU coreutils and openssl. Everything it makes is gone when it ends.
set -euo pipefail

size=$(numfmt --from=iec "${SIZE:-1G}")
runs=${RUNS:-3}
root=$(cd "$(dirname "$0")/.." && pwd)

room() { df --output=avail -B1 "$1" 2>/dev/null | tail -1; }
if [ -z "${DIR:-}" ]; then
    DIR=${TMPDIR:-/tmp}
    [ -d /dev/shm ] && [ "$(room /dev/shm)" -gt $((6 * size)) ] && DIR=/dev/shm
fi
for tool in /usr/bin/time openssl numfmt sha256sum; do
    command -v "$tool" >/dev/null || { echo "compare.sh needs $tool" >&2; exit 1; }
done

cargo build --release --quiet --manifest-path "$root/Cargo.toml"
offswarm=$(cargo metadata --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/offswarm

place=$(mktemp -d "$DIR/compare.XXXXXX")
trap 'rm -rf "$place"' EXIT
cd "$place"
head -c "$size" /dev/urandom >one
head -c "$size" /dev/urandom >two

row() { printf '%-28s %7s %8s %9s %10s\n' "$@"; }

# Runs a command RUNS times, with "$prepare" before each, and prints the fastest run.
# measure NAME STORE COMMAND...: bytes that STORE grew by are shown per byte of the file.
measure() {
    local name=$1 store=$2 before after best='' grown='-'
    shift 2
    for _ in $(seq "$runs"); do
        eval "$prepare"
        before=$(used "$store")
        /usr/bin/time -o figures -f '%e %U %S %M' "$@" >printed 2>errors || { cat errors >&2; exit 1; }
        after=$(used "$store")
        best=$({ echo "$best"; cat figures; } | sed '/^$/d' | sort -n | head -1)
        [ "$store" = - ] || grown=$(echo "$before $after $size" | awk '{ printf "%.3f", ($2 - $1) / $3 }')
    done
    echo "$best" | awk -v size="$size" '{ printf "%.0f %.2f %.1f\n", size / $1 / 1e6, $2 + $3, $4 / 1024 }' | {
        read -r speed cpu memory
        row "$name" "$speed" "$cpu" "$memory" "$grown"
    }
}

used() { if [ -e "$1" ]; then du -s -B1 "$1" | cut -f1; else echo 0; fi; }

# What openssl does in a second with blocks of 128 KiB, in MB/s.
bound() {
    openssl speed -bytes 131072 -seconds 1 "$@" 2>/dev/null |
        awk 'END { sub("k$", "", $NF); printf "%.0f", $NF / 1000 }'
}

echo "$(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), load $(cut -d' ' -f1 /proc/loadavg)," \
    "$(numfmt --to=iec "$size") in $DIR ($(stat -f -c %T "$DIR")), best of $runs"
row program MB/s CPU-s peak-MiB disk/byte
prepare='rm -f copy' measure 'cp' copy cp one copy
rm -f copy
prepare=: measure 'sha256sum' - sha256sum one
row 'openssl sha256, one core' "$(bound sha256)" - - -
row 'openssl chacha20, one core' "$(bound -evp chacha20)" - - -
prepare='rm -rf home' measure 'offswarm put, cold store' home "$offswarm" --home home put one
url=$(cat printed)
prepare=: measure 'offswarm put, warm store' home "$offswarm" --home home put two
prepare=: measure 'offswarm get, verified' - "$offswarm" --home home get "$url" --offline -o copy
cmp one copy
