# Read by the scripts beside it: builds offswarm, and makes a place for a file of random bytes and all
# that comes of it.
#
#   . place.sh NAME TIMES      needs SIZE, DIR as they say; sets size, root, place, program
#
# TIMES is how much room must be in /dev/shm for it to be taken, in sizes of the file.

# Nothing is looked for outside.
export OFFSWARM_NO_DHT=true

size=$(numfmt --from=iec "${SIZE:-256M}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

room() { df --output=avail -B1 "$1" 2>/dev/null | tail -1; }
if [ -z "${DIR:-}" ]; then
    DIR=${TMPDIR:-/tmp}
    [ -d /dev/shm ] && [ "$(room /dev/shm)" -gt $(($2 * size)) ] && DIR=/dev/shm
fi

target=$(cargo metadata --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
cargo build --release --quiet --locked --bins --target-dir "$target" \
    --manifest-path "$root/Cargo.toml"
program=$target/release/offswarm

place=$(mktemp -d "$DIR/$1.XXXXXX")
trap 'rm -rf "$place"' EXIT
head -c "$size" /dev/urandom >"$place/file"
echo "$(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), load" \
    "$(cut -d' ' -f1 /proc/loadavg); everything in $DIR ($(stat -f -c %T "$DIR"))"
