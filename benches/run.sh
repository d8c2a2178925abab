#!/usr/bin/env bash
# run.sh [canned|etcd|watches [clientv3] [ROW...]]: builds the programs of the bench, measures the built library with
# them, and prints tables: all, or one of them, or some rows of that about watches; of etcd's client for Go, where that is
# asked for. README.md here says how to read these.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# shellcheck source=../.ci/lib.sh
. "$root/.ci/lib.sh"

etcd_version=3.6.16
build=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")/release
library=$build/libetcdgw.so
folder=$build/bench
library_flags=("-I$root/include" "-L$build" "-Wl,-rpath,$build" -letcdgw)

compile() {
    local name=$1; shift
    cc -std=c11 -O2 -Wall -Wextra -pedantic -Werror -pthread -o "$folder/$name" "$@"
}

build_programs() {
    cd "$here"
    compile server server.c websocket.c base64.c sha1.c
    compile limit client.c limit.c base64.c
    compile curl client.c curl.c base64.c -lcurl -lcjson
    compile etcdgw client.c etcdgw.c "${library_flags[@]}"
    compile watches watches.c "${library_flags[@]}"
    compile raw raw.c
    # Comes with the mirror.
    [ ! -e mirror.c ] || compile mirror mirror.c "${library_flags[@]}"
}

# Only where it is asked for: it comes from the network.
build_peer() {
    have go || die "Go is lacking"
    run_quietly env -C "$here/go" GOWORK=off GOFLAGS=-mod=readonly go build -o "$folder/watches-go" . || die "no clientv3"
}

[ -e "$build/etcdgw.pc" ] || die "$library is not built: run make first"
have cc || die "a C compiler is lacking; on Debian: apt-get install gcc libc6-dev"
have python3 || die "Python 3 is lacking; on Debian: apt-get install python3"
install_debian_package libcurl4-openssl-dev libcjson-dev binutils strace valgrind
mkdir -p "$folder"
rm -f "$folder/results.jsonl"
build_programs

[ "${1:-}" != watches ] || [ "${2:-}" != clientv3 ] || build_peer

export PYTHONDONTWRITEBYTECODE=1
case ${1:-all} in
    all | canned | etcd) [ $# -le 1 ] || die "usage: run.sh [canned|etcd|watches [clientv3] [ROW...]]" ;;&
    all) say "measuring; this takes about six minutes" ;;&
    all | canned) python3 "$here/bench.py" canned "$folder" "$library" ;;&
    all | etcd) "$root/tests/etcd/with-etcd.sh" "$etcd_version" python3 "$here/bench.py" etcd "$folder" "$library" ;;&
    all | watches) python3 "$here/watches.py" "$folder" "${@:2}" ;;&
    all | canned | etcd | watches) printf '\n  each row as JSON: %s\n' "$folder/results.jsonl" ;;
    *) die "usage: run.sh [canned|etcd|watches [clientv3] [ROW...]]" ;;
esac
