#!/usr/bin/env bash
# with-etcd.sh [--secured] VERSION COMMAND...: runs the command while a throw-away etcd of that version serves on a free loopback
# port, and ends with the command's status. The command finds the server in $ETCDGW_ENDPOINTS and its version in
# $ETCDGW_ETCD_VERSION; its stdin is empty. Process and data are gone afterwards, also when this script is interrupted.
#
# Secured, the server speaks TLS, wants a certificate, and knows two users with the password "password": root, and
# limited, who may use the keys below a prefix. The command finds what it needs of that in $ETCDGW_CA_CERT, $ETCDGW_CERT,
# $ETCDGW_KEY, $ETCDGW_USER (limited), $ETCDGW_PASSWORD and $ETCDGW_KEY_PREFIX.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../.ci/lib.sh
. "$here/../../.ci/lib.sh"

is_secured=
[ "${1:-}" != --secured ] || { is_secured=yes; shift; }
[ $# -ge 2 ] || die "usage: with-etcd.sh [--secured] VERSION COMMAND..."
version=$1; shift

start_limit_s=30
etcd_pid=
port=
tls_port=
work=

clean_up() {
    # Nothing of this server is kept, so there is no orderly end to wait for.
    [ -z "$etcd_pid" ] || { kill -KILL "$etcd_pid"; wait "$etcd_pid"; } 2>/dev/null || true
    [ -z "$work" ] || rm -rf "$work"
}

# POSTs a message, else an empty one, and prints the whole answer; prints nothing when there is none in two seconds.
post() {
    local path=$1 json=${2:-'{}'}
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" &&
        printf "POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" "$1" "${#2}" "$2" >&3 && cat <&3' \
        "$port" "$path" "$json" 2>/dev/null || true
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
    [ -z "$is_secured" ] || tls_port=$((port + 1))
    rm -rf "$work/data"
    # An empty environment: variables like ETCD_NAME would configure this server. Nobody connects to the peer port.
    env -i "$program" --name "$name" --data-dir "$work/data" \
        --listen-client-urls "http://127.0.0.1:$port${tls_port:+,https://127.0.0.1:$tls_port}" \
        --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls http://127.0.0.1:0 "${flags[@]}" >"$work/etcd.log" 2>&1 </dev/null &
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

# certify NAME SUBJECT-ALTERNATIVE-NAME: without a common name, which etcd's gateway takes of nobody who has a user. The
# server shows its own to itself as a client.
certify() {
    local file=$work/$1
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$file-key.pem" -out "$file.csr" -subj /O=tests
    openssl x509 -req -in "$file.csr" -CA "$work/ca.pem" -CAkey "$work/ca-key.pem" -CAcreateserial -days 30 \
        -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$2") -out "$file.pem"
}

certify_all() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/ca-key.pem" \
        -out "$work/ca.pem" -subj /CN=tests -days 30
    certify server IP:127.0.0.1
    certify client DNS:client
}

# tell PATH JSON: must be done.
tell() { [[ $(post "$1" "$2") == *" 200 OK"* ]] || die "etcd does not do $1"; }

base64_of() { printf '%s' "$1" | base64 -w 0; }

make_users() {
    local name range
    range="\"key\":\"$(base64_of limited/)\",\"range_end\":\"$(base64_of limited0)\""
    for name in root limited; do
        tell /v3/auth/user/add "{\"name\":\"$name\",\"password\":\"password\"}"
        tell /v3/auth/role/add "{\"name\":\"$name\"}"
        tell /v3/auth/user/grant "{\"user\":\"$name\",\"role\":\"$name\"}"
    done
    tell /v3/auth/role/grant "{\"name\":\"limited\",\"perm\":{\"permType\":\"READWRITE\",$range}}"
    tell /v3/auth/enable '{}'
}

trap clean_up EXIT
stop_on_signals
program=$("$here/fetch.sh" "$version" | grep '/etcd$')
work=$(mktemp -d "${TMPDIR:-/tmp}/etcdgw-etcd.XXXXXX")
flags=()
if [ -n "$is_secured" ]; then
    run_quietly certify_all
    flags=(--cert-file "$work/server.pem" --key-file "$work/server-key.pem" --trusted-ca-file "$work/ca.pem"
        --client-cert-auth --bcrypt-cost 4)
fi
start_etcd "$program"

export ETCDGW_ENDPOINTS=http://127.0.0.1:$port ETCDGW_ETCD_VERSION=$version
if [ -n "$is_secured" ]; then
    make_users
    export ETCDGW_ENDPOINTS=https://127.0.0.1:$tls_port ETCDGW_CA_CERT=$work/ca.pem ETCDGW_CERT=$work/client.pem
    export ETCDGW_KEY=$work/client-key.pem ETCDGW_USER=limited ETCDGW_PASSWORD=password ETCDGW_KEY_PREFIX=limited/
fi
status=0
run_in_group "$@" || status=$?
if ! is_running; then show_log; die "etcd $version ended while the command ran (the command's status was $status)"; fi
exit "$status"
