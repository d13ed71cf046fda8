#!/bin/sh
# every LENGTH COMMAND...: run a command again and again, with a pause between, until SIGTERM or SIGINT.
# LENGTH is what sleep takes: 90m, 6h, 1d. However the command ends, it is run again after the pause. A signal is passed
# on to it, and what it ends with then is the exit code; in a pause it is 143 or 130.
set -u
length=$1
shift

child= signal= code= passed=
pass_on() {
    signal=$1 code=$2
    # A pause has nothing to end in good order, and KILL reaches a process that has just been made.
    if [ -n "$child" ]; then kill -s "${how:-$signal}" "$child" 2>/dev/null && passed=1; fi
}
trap 'pass_on TERM 143' TERM
trap 'pass_on INT 130' INT

while :; do
    how=
    "$@" &
    child=$!
    ended=
    if [ -z "$signal" ]; then
        wait "$child"
        ended=$?
    fi
    if [ -n "$signal" ]; then
        # The signal ended the wait, or came before it; or the command had just ended.
        if [ -z "$passed" ]; then kill -s "$signal" "$child" 2>/dev/null; fi
        if kill -s 0 "$child" 2>/dev/null; then
            wait "$child"
            ended=$?
        fi
        exit "$ended"
    fi
    child=
    echo "every: exit code $ended, and again in $length" >&2
    how=KILL
    sleep "$length" &
    child=$!
    if [ -z "$signal" ]; then wait "$child"; fi
    if [ -n "$signal" ]; then
        kill -s KILL "$child" 2>/dev/null
        exit "$code"
    fi
    child=
done
