#!/usr/bin/env bash
# with-etcd.sh VERSION COMMAND...: runs the command while a throw-away etcd of that version serves on a free loopback
# port, and ends with the command's status. The command finds the server in $ETCDGW_ENDPOINTS and its version in
# $ETCDGW_ETCD_VERSION; its stdin is empty. Process and data are gone afterwards, also when this script is interrupted.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../.ci/lib.sh
. "$here/../../.ci/lib.sh"

[ $# -ge 2 ] || die "usage: with-etcd.sh VERSION COMMAND..."
version=$1; shift

start_limit_s=30
etcd_pid=
port=
work=

clean_up() {
    # Nothing of this server is kept, so there is no orderly end to wait for.
    [ -z "$etcd_pid" ] || { kill -KILL "$etcd_pid"; wait "$etcd_pid"; } 2>/dev/null || true
    [ -z "$work" ] || rm -rf "$work"
}

# POSTs an empty message and prints the whole answer; prints nothing when there is none within two seconds.
post() {
    local path=$1
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" &&
        printf "POST %s HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}" "$1" >&3 && cat <&3' "$port" "$path" 2>/dev/null || true
}

# The member's name gets into the member list through consensus: a server that shows it has a leader and takes writes,
# and as the name is random it is this one and not another on the same port.
is_ready() { [[ $(post /v3/cluster/member/list) == *"\"$name\""* ]]; }

is_running() { kill -0 "$etcd_pid" 2>/dev/null; }

show_log() { say "the end of its log:"; tail -n 30 "$work/etcd.log" | sed 's/^/    /' >&2; }

# Below the range that outgoing connections take their ports from.
random_port() { printf '%s\n' $((20000 + RANDOM % 12000)); }

launch() {
    local program=$1
    name=with-etcd-$$-$RANDOM$RANDOM
    port=$(random_port)
    rm -rf "$work/data"
    # An empty environment: variables like ETCD_NAME would configure this server. Nobody connects to the peer port.
    env -i "$program" --name "$name" --data-dir "$work/data" \
        --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
        --listen-peer-urls http://127.0.0.1:0 >"$work/etcd.log" 2>&1 </dev/null &
    etcd_pid=$!
}

wait_until_ready() {
    local deadline=$((SECONDS + start_limit_s))
    until is_ready; do
        is_running || return 1
        [ "$SECONDS" -le "$deadline" ] || return 1
        sleep 0.05
    done
}

# Another process can take the port between its choice and the server's bind.
start_etcd() {
    local program=$1 try
    for try in 1 2 3 4 5; do
        launch "$program"
        if wait_until_ready; then return 0; fi
        if is_running; then show_log; die "etcd $version does not serve after $start_limit_s s"; fi
        grep -q 'address already in use' "$work/etcd.log" || break
        say "port $port is taken, trying another one (after try $try)"
    done
    show_log
    die "etcd $version does not start"
}

trap clean_up EXIT
stop_on_signals
program=$("$here/fetch.sh" "$version" | grep '/etcd$')
work=$(mktemp -d "${TMPDIR:-/tmp}/etcdgw-etcd.XXXXXX")
start_etcd "$program"

export ETCDGW_ENDPOINTS=http://127.0.0.1:$port ETCDGW_ETCD_VERSION=$version
status=0
run_in_group "$@" || status=$?
if ! is_running; then show_log; die "etcd $version ended while the command ran (the command's status was $status)"; fi
exit "$status"
