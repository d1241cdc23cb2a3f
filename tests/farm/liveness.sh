#!/usr/bin/env bash
# What a supervisor hears of coordinator, worker and edge: that they are ready, and signs of life while they work. When
# the one thread that does the work hangs and all others go on, the signs of life end; when it goes on, they come back.
# Usage: liveness.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
[ "$(id -u)" = 0 ] || { echo "holding a thread of the edge needs root" >&2; trap - EXIT; exit 77; }
folder=$var/notify
mkdir "$folder"
python3 "$source/tests/farm/liveness.py" listen "$folder" coordinator worker1 edge &
listener=$! holders=
clean_up() { kill $listener $holders 2>/dev/null; }
all_listened() { [ -S "$folder/coordinator" ] && [ -S "$folder/worker1" ] && [ -S "$folder/edge" ]; }
wait_until 10 "nobody listens" all_listened

heard() { grep -c "$2" "$folder/$1.heard" || true; } # program text
hears_more() { [ "$(heard "$1" WATCHDOG=1)" -gt "$2" ]; }
# So long without a sign of life that a supervisor with the patience of a second would have ended it twice.
silent() {
    awk -v now="$EPOCHREALTIME" '/WATCHDOG=1/ {last = $1} END {exit now - last < 2}' "$folder/$1.heard"
}
supervised() { # program command...
    local NOTIFY_SOCKET=$folder/$1 WATCHDOG_USEC=1000000
    export NOTIFY_SOCKET WATCHDOG_USEC
    "${@:2}"
}

farm_prepare
pg_start
supervised coordinator coordinator_start
supervised worker1 worker_start 1
supervised edge edge_start
wait_until 30 "the coordinator did not start" curl -fsS "$server/api/v1/status"
wait_until 30 "the nodes did not join" nodes_are 2
cat >"$var/alive.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"alive","format":{"width":320,"height":180,"rate":"25"},"duration":200,
 "loop":true,"tracks":[{"clips":[{"kind":"pattern","start":0,"duration":200,"pattern":{"kind":"counter"}}]}]}
JSON
on_air alive "$var/alive.json" --width 320 --height 180 --rate 25
for name in coordinator worker1 edge; do
    check "$name is ready, once" [ "$(heard $name READY=1)" = 1 ]
    wait_until 10 "no signs of life from $name" hears_more $name "$(($(heard $name WATCHDOG=1) + 3))"
done

# All three hang at once, each in one thread, and go on once the pipe is closed.
mkfifo "$folder/hold"
exec 7<>"$folder/hold"
hold() { # program thread
    python3 "$source/tests/farm/liveness.py" hold "$(cat "$run/$1.pid")" "$2" <"$folder/hold" >"$folder/$1.held" 7>&- &
    holders="$holders $!"
    wait_until 10 "$1 has no thread $2 to be held" grep -q holds "$folder/$1.held"
}
hold worker1 render-
hold coordinator farm
hold edge mix
for name in edge coordinator worker1; do
    wait_until 60 "$name gives signs of life although a thread hangs" silent $name
done
for name in edge coordinator worker1; do check "$name runs all the same" alive $name; done
check "the worker says what hangs" grep -q ' hung part="a group' "$var/log/worker1.log"
check "so does the coordinator" grep -q ' hung part="the farm' "$var/log/coordinator.log"
check "and the edge" grep -q ' hung part="a channel' "$var/log/edge.log"
exec 7>&-
for name in edge coordinator worker1; do
    wait_until 30 "no signs of life from $name, which goes on" hears_more $name "$(heard $name WATCHDOG=1)"
done
frames=$(counter alive frames)
goes_on() { [ "$(counter alive frames)" -gt "$frames" ]; }
wait_until 30 "the channel does not go on" goes_on
for name in edge worker1 coordinator; do
    stop $name
    wait_until 10 "$name did not say that it stops" grep -q STOPPING=1 "$folder/$name.heard"
done
