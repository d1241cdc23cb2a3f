#!/usr/bin/env bash
# A farm on air is upgraded, program by program, from the version before (the commit in tests/farm/previous-version, built
# here) to this one, and a worker and the coordinator are taken back again: two edges make one channel, with a platform
# that has one address. Every frame once, the right one, and the platform sees nothing.
# Usage: versions.sh BUILD_FOLDER SOURCE_FOLDER [build]
# build: only builds that version, once for all.
set -eu
previous=$1/previous commit=$(cat "$2/tests/farm/previous-version")
mkdir -p "$previous"
exec 5>"$previous/lock"
flock 5
if [ "$(cat "$previous/built" 2>/dev/null)" != "$commit" ]; then
    rm -rf "$previous/source" "$previous/build"
    mkdir -p "$previous/source"
    if ! git -C "$2" archive "$commit" | tar -x -C "$previous/source"; then
        echo "commit $commit is not in this clone; a shallow one lacks it" >&2
        exit 1
    fi
    cmake -G Ninja -S "$previous/source" -B "$previous/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$previous/log"
    cmake --build "$previous/build" --target vistter vistter-coordinator vistter-worker vistter-edge vistter-deliver vistter-import >>"$previous/log"
    echo "$commit" >"$previous/built"
fi
exec 5>&-
[ "${3:-}" != build ] || exit 0
. "$2/tests/farm/lib.sh"
previous=$VISTTER_BUILD/previous # as lib.sh has it, from wherever we were called

cat >"$var/versions.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"versions","format":{"width":320,"height":180,"rate":"25"},"duration":200,
 "loop":true,"assets":{"hello":"file:/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4"},"tracks":[
 {"clips":[{"kind":"video","asset":"hello","start":0,"duration":200,"fit":"cover"}]},
 {"clips":[{"kind":"pattern","start":0,"duration":200,"size":[160,90],
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]}]}
JSON
of() { # previous|this: which programs are started from here on
    build=$VISTTER_BUILD top=$source
    [ "$1" = this ] || build=$previous/build top=$previous/source
}
# What the version before does not know as a flag stands in the environment.
worker_start() { # number
    local port=$((frame_port + $1))
    VISTTER_STATE_FOLDER=$var/state/worker$1 start "worker$1" "$build/worker/vistter-worker" --name "worker$1" \
        --coordinators "$coordinators" --cluster-key "$var/keys/cluster.key" --frame-listen "127.0.0.1:$port" \
        --cache "$var/cache/worker$1"
}
begin() { # program
    case $1 in
    coordinator) coordinator_start --cuts 1 ;;
    worker?) worker_start "${1#worker}" ;;
    edge) edge_start --hash-file "$var/mixed" ;;
    edge2)
        start edge2 "$build/edge/vistter-edge" --name edge2 --coordinators "$coordinators" \
            --cluster-key "$var/keys/cluster.key" --state-folder "$var/edge2" --cache "$var/cache/edge2" \
            --frame-listen "127.0.0.1:$((frame_port + 9))" --preview-listen "127.0.0.1:$VISTTER_PREVIEW2" \
            --record-folder "$var/recordings2" --hash-file "$var/mixed2"
        ;;
    esac
    disown -a
}
says() { vistter --json channel status versions | jq -e "$1" >/dev/null; }
is_whole() { says '.state == "on_air" and .backup_edge != "" and all(.groups[]; .protected) and .counters.slack_frames > 60'; }
is_idle() { vistter --json node list | jq -e --arg name "$1" 'any(.[]; .name == $name and .stages == [])' >/dev/null; }
count_of() { awk -F', *' '$1 == 0' "$var/lone.packets" 2>/dev/null | wc -l; }
has_received() { [ "$(count_of)" -ge "$1" ]; }
last_mixed() { tail -qn 1 "$var/mixed" "$var/mixed2" | sort -n | tail -n 1 | cut -d' ' -f1; }
whole_again() { # what happened
    wait_until 60 "not whole after $1" is_whole
    wait_until 30 "nothing comes in after $1" has_received $(($(count_of) + 50))
}
worker_to() { # version worker
    vistter node drain "$2" >/dev/null
    wait_until 60 "$2 is not idle" is_idle "$2"
    stop "$2"
    of "$1"
    begin "$2"
    vistter node resume "$2" >/dev/null
    whole_again "$2 became $1"
}
program_to() { # version program
    stop "$2"
    of "$1"
    begin "$2"
    wait_until 30 "no coordinator" curl -fsS "$server/api/v1/status"
    whole_again "$2 became $1"
}

mkdir -p "$var/recordings2"
of previous
farm_of 2 --cuts 1
disown -a
begin edge2
wait_until 30 "the second edge did not join" nodes_are 4
printf %s "canary-$RANDOM" >"$var/keys/stream.key"
vistter timeline put versions "$var/versions.json" >/dev/null
vistter channel create versions --width 320 --height 180 --rate 25 >/dev/null
vistter destination add versions --name lone --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" --key-file "$var/keys/stream.key" >/dev/null
vistter channel start versions versions >/dev/null
wait_until 60 "not whole to begin with" is_whole
ffmpeg -v error -nostdin -y -rw_timeout 10000000 -i "rtmp://127.0.0.1:$rtmp_port/live/$(cat "$var/keys/stream.key")" -c copy \
    -flush_packets 1 -f framehash -hash md5 "$var/lone.packets" 2>/dev/null </dev/null &
receiver=$!
disown -a
clean_up() { kill "$receiver" 2>/dev/null || true; }
wait_until 30 "nothing comes in" has_received 50

program_to this coordinator
worker_to this worker1
program_to this edge
worker_to this worker2
program_to this edge2
worker_to previous worker1
program_to previous coordinator

kill -INT "$receiver"
timeout 20 tail --pid="$receiver" -f /dev/null || true
# Milliseconds between pictures: 40 each, whole.
without_gap() {
    awk -F', *' '$1 == 0 {print $2}' "$var/lone.packets" | sort -n |
        awk 'NR > 1 && ($1 - last < 39 || $1 - last > 41) {bad++} {last = $1} END {exit bad > 0 || NR < 500}'
}
check "the platform got every picture" without_gap
check "frames made twice were the same" says '.purity.mismatched == 0'
start=$(vistter --json channel status versions | jq .start_frame)
vistter channel stop versions >/dev/null
wait_until 30 "the channel did not stop" is_stopped versions
"$VISTTER_BUILD/coordinator/vistter" render "$var/versions.json" --quiet --rate 25 --cache "$var/render-cache" --start "$start" \
    --frames "0..$(($(last_mixed) + 1 - start))" --hash "$var/offline"
check "every frame was mixed by one or both, the right one" cmp "$var/offline" <(sort -nu "$var/mixed" "$var/mixed2")
