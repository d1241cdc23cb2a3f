#!/usr/bin/env bash
# A private database and coordinator for the API's tests, ended when standard input ends.
# Set: VISTTER_VAR (a folder of its own), VISTTER_BUILD, VISTTER_HTTP, VISTTER_CONTROL.
# Lines read: "database down", "database up". Lines written: "ready PID", "done", "exit STATUS".
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../ops/lib/common.sh"
. "$here/../../ops/lib/postgres.sh"
. "$here/../../ops/lib/farm.sh"

mkdir -p "$var/log" "$var/media" "$run"
chmod 755 "$var" "$run"
mkdir -p -m 700 "$var/keys"
make_key "$var/keys/cluster.key" 32
make_key "$var/keys/secret.key" 32
trap 'stop coordinator; pg_stop' EXIT
pg_start
coordinator_start
coordinator=$(cat "$run/coordinator.pid")
wait_until 60 "the coordinator did not start: $(tail -n 3 "$var/log/coordinator.log")" \
    curl -fsS "$server/api/v1/status"
say "ready $coordinator"

while read -r line; do
    case $line in
    "database down") pg_stop ;;
    "database up") pg_start ;;
    *) die "unknown line: $line" ;;
    esac
    say "done"
done
stop coordinator
status=0
wait "$coordinator" || status=$?
say "exit $status"
