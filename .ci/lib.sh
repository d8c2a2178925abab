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
    else
        printf '%s\n' "${XDG_CACHE_HOME:-${HOME:?is not set: set ETCDGW_CACHE to a folder for the cache}/.cache}/libetcdgw"
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
    have apt-get || die "lacking: ${lacking[*]} (Debian's names); this machine has no apt-get, install them by its own means"
    say "installing ${lacking[*]}"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${lacking[@]}")
    as_root "${install[@]}" >/dev/null 2>&1 </dev/null && return 0
    apt_update && run_quietly as_root "${install[@]}" && return 0
    die "could not install ${lacking[*]}; try: apt-get update && apt-get install -y ${lacking[*]}"
}
