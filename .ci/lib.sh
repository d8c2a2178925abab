# Sourced by the scripts of this repository: messages, and what installs a Debian package that is lacking.
# shellcheck shell=bash

# Everything for people goes to stderr, so that a script's stdout can be used by another one.
say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# Where downloaded and built helpers (etcd) are kept between runs.
cache_dir() {
    if [ -n "${ETCDGW_CACHE:-}" ]; then
        printf '%s\n' "$ETCDGW_CACHE"
    elif [ -n "${XDG_CACHE_HOME:-}" ]; then
        printf '%s\n' "$XDG_CACHE_HOME/libetcdgw"
    else
        printf '%s\n' "${HOME:?is not set: set ETCDGW_CACHE to a folder for the cache}/.cache/libetcdgw"
    fi
}

# Runs a command; says nothing when it works, and shows the command with all of its output when it does not.
run_quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        say "this command failed with status $status: $*"
        sed 's/^/    /' "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

# Runs a command as root; fails where that is not possible without asking for a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        say "not root, and sudo wants a password; to be run by hand: $*"
        return 1
    fi
}

apt_update() { run_quietly as_root apt-get update -q; }

debian_package_installed() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]
}

# install_debian_package NAME...: installs those that are lacking. The package lists are only refreshed when the
# first try fails: they may be missing (a fresh container) or name files that the mirror has replaced.
install_debian_package() {
    local name lacking=()
    for name in "$@"; do
        debian_package_installed "$name" || lacking+=("$name")
    done
    [ "${#lacking[@]}" -gt 0 ] || return 0
    have apt-get || die "lacking: ${lacking[*]} (Debian's names); there is no apt-get here, install them by other means"
    say "installing ${lacking[*]}"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${lacking[@]}")
    as_root "${install[@]}" >/dev/null 2>&1 </dev/null && return 0
    apt_update && run_quietly as_root "${install[@]}" && return 0
    die "could not install ${lacking[*]}; try: apt-get update && apt-get install -y ${lacking[*]}"
}

# need_program PROGRAM PACKAGE: installs the package where the program is lacking, whoever has put it there.
need_program() { have "$1" || install_debian_package "$2"; }

# Rust's nightly toolchain, beside the one in use.
need_nightly() {
    have rustup || die "rustup is lacking, which the nightly toolchain comes from"
    rustup toolchain list | grep -q '^nightly' || run_quietly rustup toolchain install nightly --profile minimal
}

# The running process group of run_in_group, and how long it gets to end when this script is told to stop. A script
# that runs other scripts of this kind gives them more time than they give their own commands.
group=
group_grace_s=3

# run_in_group COMMAND...: runs it in a process group of its own and waits for it. A command's children (a test program
# below cargo, a server below a script) must not outlive the script, so a signal ends the whole group.
run_in_group() {
    local status=0
    set -m
    "$@" </dev/null &
    group=$!
    set +m
    wait "$group" || status=$?
    group=
    return "$status"
}

# After this, INT, TERM and HUP end what run_in_group runs, and then the script through its EXIT trap.
stop_on_signals() {
    trap 'stopped_by INT' INT
    trap 'stopped_by TERM' TERM
    trap 'stopped_by HUP' HUP
}

stopped_by() {
    # A second Ctrl-C must not cut the cleaning up short.
    trap '' INT TERM HUP
    [ -z "$group" ] || end_group "$group"
    exit $((128 + $(kill -l "$1")))
}

end_group() {
    local leader=$1 deadline=$((SECONDS + group_grace_s))
    kill -TERM -- "-$leader" 2>/dev/null || true
    while kill -0 -- "-$leader" 2>/dev/null; do
        if [ "$SECONDS" -gt "$deadline" ]; then kill -KILL -- "-$leader" 2>/dev/null || true; break; fi
        sleep 0.05
    done
    wait "$leader" 2>/dev/null || true
}

# Where `make` leaves the library; for scripts that run in the root of the repository.
build_dir() { printf '%s/release\n' "$(realpath -m "${CARGO_TARGET_DIR:-target}")"; }

# The versions of etcd that are tested; likewise.
etcd_versions() { awk '$1 == "etcd" { print $2 }' tests/etcd/versions; }

# `make` for a script that may itself run below make, whose flags and job server are not meant for this one.
run_make() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL "${MAKE:-make}" --no-print-directory "$@"; }
