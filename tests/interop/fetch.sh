#!/usr/bin/env bash
# fetch.sh: makes what tests/interop talks to available under $ETCDGW_CACHE/interop/: a program with Go's concurrency
# package, and Python's etcd3gw. etcdctl comes from tests/etcd/fetch.sh. Nothing is installed on the system.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../.ci/lib.sh
. "$here/../../.ci/lib.sh"

store=$(cache_dir)/interop
# tests/interop/peers.rs has it, too.
etcd3gw=2.7.0

go_program() {
    have go || die "the program with Go's concurrency package is built with Go, which is not installed"
    # Always: what is up to date costs a second.
    (cd "$here/go" && GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 \
        run_quietly go build -trimpath -o "$store/go-interop" .)
}

python_package() {
    [ ! -d "$store/etcd3gw-$etcd3gw" ] || return 0
    python3 -m pip --version >/dev/null 2>&1 || install_debian_package python3-pip
    local work
    work=$(mktemp -d "$store/.making.XXXXXX")
    # shellcheck disable=SC2064 # this run's folder, not a later one's
    trap "rm -rf '$work'" EXIT
    run_quietly python3 -m pip install --quiet --no-input --disable-pip-version-check --target "$work" \
        "etcd3gw==$etcd3gw"
    mv "$work" "$store/etcd3gw-$etcd3gw"
    trap - EXIT
}

main() {
    mkdir -p "$store"
    exec 9>"$store/.lock"
    flock 9
    go_program
    python_package
    printf '%s\n' "$store/go-interop" "$store/etcd3gw-$etcd3gw"
}

main
