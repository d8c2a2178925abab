#!/usr/bin/env bash
# run-consumers.sh [NAME...]: builds the programs that use the library from C, C++, Go and Python, the examples among
# them, and runs each on the etcd at ETCDGW_ENDPOINTS, which tests/etcd/with-etcd.sh gives. One line per program; the
# first that fails ends it, with what it printed. With names, only those programs run. ETCDGW_LIB_DIR: the folder with
# libetcdgw.so, where it is not the one that make builds into.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
# shellcheck source=../.ci/lib.sh
. "$root/.ci/lib.sh"

: "${ETCDGW_ENDPOINTS:?is not set: run this below tests/etcd/with-etcd.sh}"
: "${ETCDGW_LIB_DIR:=$(cd "$root" && build_dir)}"
ETCDGW_LIB_DIR=$(cd "$ETCDGW_LIB_DIR" && pwd)
export ETCDGW_LIB_DIR ETCDGW_ENDPOINTS

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

# Nothing takes longer; what hangs is to end with a message and not with the patience of whoever waits.
limit_s=300

includes=(-I "$root/include")
libraries=(-L "$ETCDGW_LIB_DIR" "-Wl,-rpath,$ETCDGW_LIB_DIR" -letcdgw)
warnings=(-Wall -Wextra -pedantic -Werror)

# run NAME COMMAND...
wanted=("$@")
run() {
    local name=$1 word started=$SECONDS; shift
    if [ "${#wanted[@]}" -gt 0 ]; then
        for word in "${wanted[@]}"; do [ "$word" != "$name" ] || break; done
        [ "$word" = "$name" ] || return 0
    fi
    run_quietly timeout -k 5 "$limit_s" "$@" || die "$name failed on $ETCDGW_ENDPOINTS"
    printf 'ok  %-40s %3d s\n' "$name" "$((SECONDS - started))"
}

c_programs() {
    local source name
    for source in "$here"/c/*.c; do
        name=$(basename "$source" .c)
        run_quietly "${CC:-cc}" -std=c99 -O1 -g -pthread "${warnings[@]}" "${includes[@]}" "$source" "${libraries[@]}" \
            -ldl -o "$built/$name"
        run "c/$name" "$built/$name"
    done
    # What a thread is given at its start counts as possibly lost, hence only the kinds that prove a leak.
    for name in consumer mirror queued_coordination watches; do
        run "c/$name under valgrind" valgrind -q --error-exitcode=9 --leak-check=full --max-threads=1000 \
            --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect "$built/$name"
    done
    # Children leave what they inherited where it is: only access to memory is looked at.
    run "c/fork under valgrind" valgrind -q --error-exitcode=9 --trace-children=yes "$built/fork" 5
}

cpp_program() {
    run_quietly "${CXX:-c++}" -std=c++11 -O1 -g -pthread "${warnings[@]}" "${includes[@]}" "$here/cpp/consumer.cpp" \
        "${libraries[@]}" -o "$built/consumer-cpp"
    run cpp/consumer "$built/consumer-cpp"
}

# cgocheck2 looks at every pointer that goes to C; -count=1, since Go would show the result of another etcd's run.
go_program() {
    export CGO_ENABLED=1 CGO_CFLAGS="-O1 -g ${includes[*]}" CGO_LDFLAGS="${libraries[*]}"
    export GOWORK=off GOFLAGS=-mod=mod GOTOOLCHAIN=local GOEXPERIMENT=cgocheck2
    run go/consumer env -C "$here/go" go test -count=1 ./...
}

python_program() {
    run python/consumer env -C "$here/python" PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -q test_consumer
}

examples() {
    local source name
    run_quietly make -C "$root/examples-c" BUILD="$built/examples" CFLAGS="-O1 -g ${warnings[*]} ${includes[*]}" \
        LDLIBS="${libraries[*]}"
    for source in "$root"/examples-c/*.c; do
        name=$(basename "$source" .c)
        run "examples-c/$name" "$built/examples/$name"
    done
}

main() {
    need_program valgrind valgrind
    c_programs
    cpp_program
    go_program
    python_program
    examples
}

main
