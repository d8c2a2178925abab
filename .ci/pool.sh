# Sourced by steps of the check that consist of many programs: runs ETCDGW_CHECK_AT_A_TIME of them at a time, by default
# three. Most of what they do is to wait.
# Says a line of each that has ended; of one that failed all is shown that it printed.
# shellcheck shell=bash

at_a_time=${ETCDGW_CHECK_AT_A_TIME:-3}
[[ $at_a_time =~ ^[1-9][0-9]?$ ]] || die "ETCDGW_CHECK_AT_A_TIME is '$at_a_time', but must be a number from 1 to 99"
running=0
failed=0
logs=$(mktemp -d "${TMPDIR:-/tmp}/etcdgw-step.XXXXXX")
trap 'rm -rf "$logs"' EXIT
stop_on_signals

# begin NAME COMMAND...: as soon as there is room.
begin() {
    while [ "$running" -ge "$at_a_time" ]; do await_one; done
    report "$@" &
    running=$((running + 1))
}

report() {
    local name=$1 log=$logs/$BASHPID status=0 started=$SECONDS; shift
    "$@" >"$log" 2>&1 </dev/null || status=$?
    # In one piece, since others print meanwhile.
    if [ "$status" -eq 0 ]; then
        printf 'ok %5d s  %s\n' $((SECONDS - started)) "$name"
    else
        printf 'FAILED %d s, status %d  %s: %s\n%s\n' $((SECONDS - started)) "$status" "$name" "$*" "$(<"$log")"
    fi
    return "$status"
}

await_one() {
    wait -n || failed=1
    running=$((running - 1))
}

await_all() { while [ "$running" -gt 0 ]; do await_one; done; }

# finish_step: what has failed fails the step.
finish_step() {
    await_all
    [ "$failed" -eq 0 ] || die "see above"
}
