#!/usr/bin/env bash
# A private database and coordinators for the API's tests, ended when standard input ends.
# Set: VISTTER_VAR (a folder of its own), VISTTER_BUILD, VISTTER_HTTP, VISTTER_CONTROL, and for
# a second coordinator VISTTER_HTTP2, VISTTER_CONTROL2.
# Lines read: "database up|down|freeze|thaw", "start|term|kill|freeze|thaw NAME",
# "exit NAME", "sql TEXT". Lines written: "ready", then "done PID" or "exit STATUS" for each line.
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

database() { # up, down, freeze, thaw
    case $1 in
    up) pg_start ;;
    down) pg_stop ;;
    # The postmaster and each of its processes, by their ids.
    freeze) kill -STOP $(pg_pids) ;;
    thaw) kill -CONT $(pg_pids) $(pid_of postgres) ;; # runuser stops with its child
    esac
}
pg_pids() {
    local postmaster
    read -r postmaster <"$pg_data/postmaster.pid"
    echo "$postmaster" $(ps -o pid= --ppid "$postmaster")
}

start_named() { # coordinator or second
    [ "$1" = coordinator ] || local http_port=$VISTTER_HTTP2 control_port=$VISTTER_CONTROL2
    start "$1" "$build/coordinator/vistter-coordinator" --name "$1" --database "$pg_database" \
        --http-listen "127.0.0.1:$http_port" --control-listen "127.0.0.1:$control_port" \
        --media "$var/media" --migrations "$top/migrations" --http-names farm.example \
        --media-url "http://127.0.0.1:$http_port/api/v1/media" \
        --cluster-key "$var/keys/cluster.key" --secret-key "$var/keys/secret.key"
}
pid_of() { cat "$run/$1.pid"; }

end() {
    [ ! -s "$pg_data/postmaster.pid" ] || database thaw 2>/dev/null || true
    stop coordinator
    stop second
    pg_stop
}
trap end EXIT
say ready
while read -r word name; do
    status=0
    case $word in
    database) database "$name" ;;
    start) start_named "$name" ;;
    term) kill -TERM "$(pid_of "$name")" ;;
    kill) kill -KILL "$(pid_of "$name")" ;;
    freeze) kill -STOP "$(pid_of "$name")" ;;
    thaw) kill -CONT "$(pid_of "$name")" ;;
    sql) "$pg_bin/psql" -qAt -h "$pg_socket" -U vistter -d vistter -c "$name" >"$var/sql.out" ;;
    exit)
        wait "$(pid_of "$name")" || status=$?
        rm -f "$run/$name.pid"
        say "exit $status"
        continue
        ;;
    *) die "unknown line: $word $name" ;;
    esac
    case $word in
    start) say "done $(pid_of "$name")" ;;
    *) say done ;;
    esac
done
