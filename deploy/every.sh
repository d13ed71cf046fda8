#!/bin/sh
# every LENGTH COMMAND...: run a command again and again, with a pause between, until SIGTERM or SIGINT.
# LENGTH is what sleep takes: 90m, 6h, 1d. However the command ends, it is run again after the pause; a signal is
# passed on to it, and what it ends with then is the exit code.
set -u
length=$1
shift

child=
signal=

pass_on() {
    signal=$1
    if [ -n "$child" ]; then kill -s "$signal" "$child" 2>/dev/null; fi
}
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT

# A signal ends the first wait, or comes before it; the second one brings the exit code of a command that was told.
await() {
    child=$!
    if [ -z "$signal" ]; then
        wait "$child"
        code=$?
    fi
    if [ -n "$signal" ]; then
        if kill -s "$signal" "$child" 2>/dev/null; then
            wait "$child"
            code=$?
        fi
        exit "$code"
    fi
    child=
}

while :; do
    "$@" &
    await
    echo "every: exit code $code, and again in $length" >&2
    sleep "$length" &
    await
done
