#!/usr/bin/env bash
# fetch.sh [VERSION...]: makes the programs of `versions` (all of them, or those of the given versions) available
# under $ETCDGW_CACHE/etcd/<version>/ and prints their paths. Nothing is installed on the system, no service is started.
# One that can't be had ends the script with status 1, naming the version and showing the command that failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../.ci/lib.sh
. "$here/../../.ci/lib.sh"

store=$(cache_dir)/etcd

# What the program says about itself, e.g. "3.6.16"; empty when it does not run.
reported_version() {
    local program=$1 path=$2
    case $program in
        etcd) "$path" --version 2>/dev/null | sed -n 's/^etcd Version: //p' ;;
        etcdctl | etcdutl) "$path" version 2>/dev/null | sed -n "s/^$program version: //p" ;;
    esac || true
}

# Debian's package, unpacked and not installed. The lists may be missing or older than the mirror, hence the second try.
fetch_debian() {
    local program=$1 version=$2 package=$3 dir=$4
    have apt-get || { say "Debian's package of $program $version needs apt-get, which this machine lacks"; return 1; }
    cd "$dir" || return 1
    # The sandbox user can't write here, which apt would warn about.
    local download=(apt-get download -q "$package=$version*")
    [ "$(id -u)" -ne 0 ] || download+=(-o APT::Sandbox::User=root)
    if ! "${download[@]}" >/dev/null 2>&1 </dev/null; then
        apt_update || true
        run_quietly "${download[@]}" || return 1
    fi
    run_quietly dpkg-deb -x "$package"_*.deb unpacked || return 1
    mv "unpacked/usr/bin/$program" "$program"
}

# `go install pkg@version` refuses modules with replace directives, as etcd's are; as a dependency of a throw-away module
# those directives don't count, and go.sum is checked all the same.
fetch_go() {
    local program=$1 version=$2 package=$3 dir=$4
    have go || { say "$program $version is built with Go, which is not installed (see .ci/toolchain)"; return 1; }
    cd "$dir" || return 1
    # Whatever workspace or vendoring the caller is in is not meant here. No cgo: the same binary wherever it is built.
    export GOWORK=off GOFLAGS=-mod=mod CGO_ENABLED=0
    run_quietly go mod init throwaway.invalid/etcd || return 1
    run_quietly go get "$package@v$version" || return 1
    run_quietly go build -trimpath -o "$program" "$package"
}

# Makes one program in a temporary folder of the store, checks it, and renames it into place.
make_program() {
    local program=$1 version=$2 source=$3 package=$4 path=$5 work reported
    work=$(mktemp -d "$store/.making.XXXXXX")
    # shellcheck disable=SC2064 # this run's folder, not a later one's
    trap "rm -rf '$work'" EXIT
    say "fetching $program $version ($source: $package); about a minute the first time"
    ("fetch_$source" "$program" "$version" "$package" "$work") || die "$program $version can't be had from $source ($package)"
    reported=$(reported_version "$program" "$work/$program")
    [ "$reported" = "$version" ] || die "$program from $source ($package) says it is version '$reported', wanted $version"
    mkdir -p "$(dirname "$path")"
    mv "$work/$program" "$path"
    rm -rf "$work"
    trap - EXIT
}

wanted() {
    local version=$1; shift
    [ $# -gt 0 ] || return 0
    local v
    for v in "$@"; do [ "$v" != "$version" ] || return 0; done
    return 1
}

check_arguments() {
    local v
    for v in "$@"; do
        grep -qE "^[a-z]+ +${v//./\\.} " "$here/versions" || die "version $v is not in $here/versions"
    done
}

main() {
    check_arguments "$@"
    mkdir -p "$store"
    # Two invocations at once would build the same thing twice on a machine that is slow enough already.
    exec 9>"$store/.lock"
    if ! flock -n 9; then say "waiting for another fetch.sh to finish"; flock 9; fi
    local program version source package path
    while read -r program version source package; do
        wanted "$version" "$@" || continue
        path=$store/$version/$program
        if [ "$(reported_version "$program" "$path")" != "$version" ]; then
            make_program "$program" "$version" "$source" "$package" "$path"
        fi
        printf '%s\n' "$path"
    done < <(grep -v -e '^#' -e '^$' "$here/versions")
}

main "$@"
