#!/usr/bin/env bash
# Runs all checks and all tests: format, lints, documentation, doctests, tests.
#
# The tests use foreign programs and skip none: what is missing is installed (Debian, as root), or
# named. The last line is the test runner's own summary.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian packages and a file that shows each is there.
needs=(
    "aria2 /usr/bin/aria2c"
    "chromium /usr/bin/chromium"
    "curl /usr/bin/curl"
    "deluged /usr/bin/deluged"
    "iproute2 /sbin/ip"
    "lighttpd /usr/sbin/lighttpd"
    "openssl /usr/bin/openssl"
    "opentracker /usr/bin/opentracker"
    "python3 /usr/bin/python3"
    "python3-libtorrent /usr/lib/python3/dist-packages/libtorrent*.so"
    "qbittorrent-nox /usr/bin/qbittorrent-nox"
    "rtorrent /usr/bin/rtorrent"
    "systemd /usr/bin/systemd-analyze"
    "time /usr/bin/time"
    "transmission-daemon /usr/bin/transmission-daemon"
)

# Prints the packages of which nothing is found.
missing() {
    local need package file
    for need in "${needs[@]}"; do
        read -r package file <<<"$need"
        compgen -G "$file" >/dev/null || echo "$package"
    done
    # These two may have come from elsewhere.
    for package in nodejs:node npm:npm; do
        command -v "${package#*:}" >/dev/null || echo "${package%:*}"
    done
}

# Runs apt-get install, and keeps the services of what it installs from starting: opentracker's
# and lighttpd's would take ports, and the tests start their own.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours=
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    local outcome=0
    {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
    } || outcome=$?
    if [ -n "$ours" ]; then
        rm -f "$policy"
    fi
    return "$outcome"
}

mapfile -t packages < <(missing)
if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "tests/run.sh: install these Debian packages first: ${packages[*]}" >&2
        exit 1
    fi
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing)
    if [ "${#packages[@]}" -gt 0 ]; then
        echo "tests/run.sh: still missing after their installation: ${packages[*]}" >&2
        exit 1
    fi
fi

cargo fmt --check
cargo clippy --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
cargo test --doc
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --no-fail-fast
else
    cargo test --lib --bins --tests --no-fail-fast
fi
