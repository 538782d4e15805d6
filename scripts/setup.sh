# What natgate's scripts share: `. scripts/setup.sh`. Everything here may be repeated.
# shellcheck shell=bash

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Building natgate.
BUILD_PACKAGES=(ca-certificates build-essential pkg-config libdpdk-dev clang libclang-dev)
# Running it, and the programs that the demo and the tests talk with.
RUN_PACKAGES=(dpdk iproute2 ethtool nftables procps util-linux iputils-ping curl traceroute iperf3
    bind9-dnsutils dnsmasq-base)

# What only the tests need: servers, interpreters, and what counts instructions.
TEST_PACKAGES=(python3 python3-pyftpdlib lua5.4 valgrind)

say() { printf '%s\n' "natgate: $*"; }
die() { printf '%s\n' "natgate: $*" >&2; exit 1; }

need_root() {
    [ "$(id -u)" -eq 0 ] || die "$1 needs root (it installs packages and makes network namespaces); run: sudo $0"
}

# Installs those of the given Debian packages that are missing.
install_packages() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "these packages are missing, and there is no apt-get to install them: ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get update -qq || say "the package lists could not be updated; trying with the old ones"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install: ${missing[*]}"
}

# take_out PACKAGE PROGRAM: a program out of a package that would start a server too. Prints its path.
take_out() {
    local tools=${CARGO_TARGET_DIR:-$REPOSITORY/target}/tools
    local program=$tools/${2##*/}
    mkdir -p "$tools"
    [ -x "$program" ] || (
        cd "$tools" &&
            apt-get download -qq "$1" &&
            dpkg-deb --fsys-tarfile "$1"_*.deb | tar -xf - --strip-components=3 "./$2" &&
            rm -f "$1"_*.deb
    ) >/dev/null 2>&1 || return 1
    printf '%s\n' "$program"
}

# Finds promtool, which the tests of metrics and alerts ask. What it checks is skipped where there is none.
find_promtool() {
    command -v promtool >/dev/null && return
    NATGATE_PROMTOOL=$(take_out prometheus usr/bin/promtool) && export NATGATE_PROMTOOL ||
        say "promtool (package prometheus) can not be had: its checks of metrics and alerts are SKIPPED"
}

# Finds memcached for the notrack experiment, and the libraries that it needs.
find_memcached() {
    command -v memcached >/dev/null && return
    install_packages libevent-2.1-7 libsasl2-2
    NATGATE_MEMCACHED=$(take_out memcached usr/bin/memcached) && export NATGATE_MEMCACHED
}

# Finds coturn's STUN server and its client that classifies NATs, and the libraries that they need.
find_coturn() {
    command -v turnserver >/dev/null && command -v turnutils_natdiscovery >/dev/null && return
    install_packages libevent-core-2.1-7 libevent-extra-2.1-7 libevent-openssl-2.1-7 libevent-pthreads-2.1-7 \
        libhiredis0.14 libmariadb3 libpq5
    NATGATE_TURNSERVER=$(take_out coturn usr/bin/turnserver) && export NATGATE_TURNSERVER &&
        NATGATE_NATDISCOVERY=$(take_out coturn usr/bin/turnutils_natdiscovery) && export NATGATE_NATDISCOVERY
}

# Debian 12's own rustc is 1.63; the one that its security archive keeps up to date for browsers is new enough.
RUST_PACKAGES=(rustc-web cargo-web rustfmt-web rust-web-clippy)

at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

rust_version() { "${1:-}rustc" --version 2>/dev/null | cut -d' ' -f2; }

# Finds a Rust toolchain that is new enough, or installs Debian's, or says how to get one.
need_rust() {
    local needed home candidate
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPOSITORY/Cargo.toml" | head -n 1)
    command -v cargo >/dev/null && at_least "$needed" "$(rust_version)" && return
    # sudo has a PATH without rustup's, which looks for its toolchains in the home directory.
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)"; do
        [ -x "$home/.cargo/bin/cargo" ] || continue
        [ ! -d "$home/.rustup" ] || export RUSTUP_HOME=$home/.rustup
        at_least "$needed" "$(rust_version "$home/.cargo/bin/")" || continue
        PATH=$home/.cargo/bin:$PATH
        return
    done
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq || true
        candidate=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
        if [ -n "$candidate" ] && at_least "$needed" "$candidate"; then
            # Never instead of another Rust of the machine: they exclude one another.
            if ! command -v /usr/bin/rustc >/dev/null || dpkg-query -W rustc-web >/dev/null 2>&1; then
                install_packages "${RUST_PACKAGES[@]}"
                PATH=/usr/bin:$PATH
                return
            fi
        fi
    fi
    die "needs Rust $needed or newer, and found $(rust_version || true)${candidate:+ (Debian offers $candidate)}; \
install a current one as https://rustup.rs says:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
and run this again"
}
