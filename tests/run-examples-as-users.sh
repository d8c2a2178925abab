#!/usr/bin/env bash
# run-examples-as-users.sh: builds the examples and runs each on the etcd at ETCDGW_ENDPOINTS, over TLS, as a user who may
# use the keys below one prefix, or as root where etcd wants that; tests/etcd/with-etcd.sh --secured gives all of it.
# ETCDGW_LIB_DIR: the folder with libetcdgw.so, where it is not the one that make builds into.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../.ci/lib.sh
. "$root/.ci/lib.sh"

: "${ETCDGW_KEY_PREFIX:?is not set: run this below tests/etcd/with-etcd.sh --secured}"
: "${ETCDGW_LIB_DIR:=$(cd "$root" && build_dir)}"
ETCDGW_LIB_DIR=$(cd "$ETCDGW_LIB_DIR" && pwd)

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

run() {
    local name=$1 started=$SECONDS
    run_quietly timeout -k 5 100 "$built/$name" || die "examples-c/$name failed as $ETCDGW_USER"
    printf 'ok  %-30s as %-10s %3d s\n' "examples-c/$name" "$ETCDGW_USER" "$((SECONDS - started))"
}

run_quietly make -C "$root/examples-c" BUILD="$built" CFLAGS="-O1 -g -Werror -I$root/include" \
    LDLIBS="-L$ETCDGW_LIB_DIR -Wl,-rpath,$ETCDGW_LIB_DIR -letcdgw"
# quickstart.c is whole in itself, raw.c speaks of keys as they are at the server, users.c makes the users.
for name in config_reload kv leader lease lock queue register txn watch; do run "$name"; done
export ETCDGW_USER=root
for name in backup cluster; do run "$name"; done
