# What natgate's scripts share: `. scripts/setup.sh`. Everything here may be repeated.
# shellcheck shell=bash

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Building natgate.
BUILD_PACKAGES=(build-essential pkg-config libdpdk-dev clang libclang-dev)
# Running it, and the programs that the demo and the tests talk with.
RUN_PACKAGES=(dpdk iproute2 ethtool nftables procps util-linux iputils-ping curl traceroute iperf3)

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

# Finds a Rust toolchain that is new enough, or says how to get one.
need_rust() {
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPOSITORY/Cargo.toml" | head -n 1)
    # sudo has a PATH without it, and rustup looks for its toolchains in the home directory.
    local home
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)"; do
        if ! command -v cargo >/dev/null && [ -x "$home/.cargo/bin/cargo" ]; then
            PATH=$home/.cargo/bin:$PATH
            [ ! -d "$home/.rustup" ] || export RUSTUP_HOME=$home/.rustup
        fi
    done
    if ! command -v cargo >/dev/null && apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        install_packages rustup
        rustup default stable
    fi
    local remedy="install a current one as https://rustup.rs says:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
and run this again"
    command -v cargo >/dev/null || die "needs Rust $needed or newer, and there is none (Debian 12's own is 1.63); $remedy"
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
        die "needs Rust $needed or newer, and this is $found; $remedy"
}
