#!/usr/bin/env bash
# Cameras on a channel: one calls a worker over SRT, another one's RTMP stream is pulled. Switched live, what both edges
# have mixed is an offline render from the log of either worker. The worker that the cameras come in at dies, and is
# back; and stands still, and goes on: the channel goes on, and so do the cameras. Then one sends what ends decoders
# (tests/shim).
# Usage: cameras.sh BUILD_FOLDER SOURCE_FOLDER SHIM
. "$2/tests/farm/lib.sh"
port=$((port + 10)) # those of workers and edges follow on VISTTER_FRAMES
next_port VISTTER_CAMERA udp
film=/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4
printf %s "a passphrase of cam1" >"$var/passphrase"

shim=$3
worker_begin() { (export LD_PRELOAD="$shim" DECODER_CRASH=vistter-crash && worker_start "$1"); }

# Again and again, as a camera's encoder calls again when nobody listens.
camera() { # name passphrase [words-in-its-first-picture seconds-a-call]
    start "$1" bash -c 'trap "kill \$!; exit" TERM; while :; do ffmpeg -v error -nostdin -re -stream_loop -1 -t "$5" -i "$1" -vf scale=320:180 -c:v libx264 -preset ultrafast \
        -tune zerolatency -g 25 -bsf:v "h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+$4" -c:a aac \
        -f mpegts "srt://127.0.0.1:$2?pkt_size=1316&streamid=#!::r=cam1,m=publish&passphrase=$3" & wait $!; sleep 0.3 & wait $!; done' \
        camera "$film" "$VISTTER_CAMERA" "$2" "${3:-vistter}" "${4:-86400}"
}
encoder() {
    start encoder ffmpeg -v error -nostdin -re -f lavfi -i testsrc2=s=320x180:r=30 -f lavfi -i sine=500 -c:v libx264 -preset ultrafast \
        -tune zerolatency -g 30 -pix_fmt yuv420p -c:a aac -f flv "rtmp://127.0.0.1:$rtmp_port/live/secretkey"
}
before_stop() { for each in camera encoder; do [ ! -e "$run/$each.pid" ] || stop "$each"; done; }
source_of() { vistter --json source show "$1"; }
source_is() { source_of "$1" | jq -e --arg state "$2" '.status.state == $state' >/dev/null; }
has_home() { source_of "$1" | jq -e --arg home "$2" '.home == $home' >/dev/null; }

cat >"$var/show.json" <<'JSON'
{"schema":"vistter.timeline/1","format":{"width":320,"height":180,"rate":"25"},"duration":100000,"tracks":[
 {"clips":[{"kind":"pattern","start":0,"duration":100000,"pattern":{"kind":"counter"}}]},
 {"name":"programme","live":true,"clips":[
  {"id":"one","kind":"camera","source":"cam1","fit":"cover","fallback":{"kind":"colour","colour":"#204060"}},
  {"id":"two","kind":"camera","source":"cam2","fit":"contain"}]},
 {"name":"corner","live":true,"clips":[
  {"id":"small","kind":"camera","source":"cam2","size":[96,54],"position":[260,140],"radius":8}]}]}
JSON
farm_of 0 --cuts 1,2
worker_begin 1
worker_begin 2
edge2_start --hash-file "$var/mixed2"
wait_until 30 "4 nodes did not join" nodes_are 4
vistter source put cam1 --srt-listen "127.0.0.1:$VISTTER_CAMERA" --passphrase-file "$var/passphrase" --worker worker1 >/dev/null
printf %s "rtmp://127.0.0.1:$rtmp_port/live/secretkey" >"$var/pulled"
vistter source put cam2 --pull "@$var/pulled" >/dev/null
wait_until 20 "cam1 has no home" has_home cam1 worker1
camera wrong "not the passphrase"
refusal() { source_of cam1 | jq -e '.status.srt.refusals > 0 and (.status.srt.refusal | test("passphrase"))' >/dev/null; }
wait_until 20 "who has another passphrase is not told of" refusal
stop wrong
camera camera "$(<"$var/passphrase")"
encoder
wait_until 30 "cam1 is not live" source_is cam1 live
wait_until 30 "cam2 is not live" source_is cam2 live
on_air show "$var/show.json" --width 320 --height 180 --rate 25
wait_until 30 "not by two edges" is_paired show
start=$(vistter --json channel status show | jq .start_frame)
mixed_to() { [ "$(tail -n 1 "$var/mixed" | cut -d' ' -f1)" -ge "$1" ] && [ "$(tail -n 1 "$var/mixed2" | cut -d' ' -f1)" -ge "$1" ]; }
newest() { tail -qn 1 "$var/mixed" "$var/mixed2" | cut -d' ' -f1 | sort -n | tail -n 1; }
concealed() { vistter --json channel status show | jq .counters.concealed; }
wait_until 30 "no frames" mixed_to "$((start + 50))"

: >"$var/log.jsonl"
take() { # track clip transition frames
    local at flags=()
    [ -z "$3" ] || flags=(--transition "$3" --frames "$4")
    at=$(vistter --json channel take show "$1" ${2:+"$2"} "${flags[@]}" | jq '.at_frame // empty')
    [ -n "$at" ] || return 1
    jq -cn --argjson at "$at" --arg track "$1" --arg clip "$2" --arg way "$3" --argjson frames "$4" \
        '{at_frame: $at, track: $track, clip: (if $clip == "" then null else $clip end)}
         + (if $way == "" then {} else {transition: {kind: $way, duration: $frames}} end)' >>"$var/log.jsonl"
}
# What has been mixed since a frame, or in the last eight seconds, is what the log of each worker gives. Logs are kept for 15.
same_as_logs() { # what from
    local end worker mixed from=$2
    end=$(newest)
    [ "$from" -gt $((end - 200)) ] || from=$((end - 200))
    wait_until 30 "$1: the edges do not go on" mixed_to "$end"
    rm -rf "$var/logs"
    mkdir "$var/logs"
    for worker in worker1 worker2; do cp -r "$var/cache/$worker/live" "$var/logs/$worker"; done
    jq -s . "$var/log.jsonl" >"$var/log.json"
    for worker in worker1 worker2; do
        "$build/coordinator/vistter" render "$var/show.json" --quiet --cache "$var/render-cache" --start "$start" \
            --frames "$((from - start))..$((end - start))" --live "$var/log.json" --logs "$var/logs/$worker" --epoch "$epoch" --hash "$var/offline"
        for mixed in mixed mixed2; do
            check "$1: $mixed is what the log of $worker gives" same_bits "$var/offline" "$var/$mixed"
        done
    done
}
same_bits() { # offline mixed
    awk 'NR == FNR {right[$1] = $0; next} $1 in right {seen++; if ($0 != right[$1]) {other++; at = at " " $1}}
        END {printf "%d of %d frames differ%s\n", other, seen, substr(at, 1, 200); exit other > 0 || seen < 100}' "$1" "$2"
}
epoch=$(vistter --json channel status show | jq -r .epoch_ns)
calm=$(concealed) from=$(newest)
check "to a camera" take programme one "" 0
for n in 1 2 3 4 5 6; do
    check "take $n" take programme "$([ $((n % 2)) = 0 ] && echo one || echo two)" "$([ $((n % 3)) = 0 ] || echo dissolve)" 10
    [ "$n" != 2 ] || check "a corner" take corner small push 8
    sleep 0.7
done
last=$(tail -n 1 "$var/log.jsonl" | jq .at_frame)
wait_until 30 "the takes did not come on air" mixed_to "$((last + 50))"
check "nothing concealed" [ "$(concealed)" = "$calm" ]
same_as_logs "switched" "$from"

# The worker that cam1 comes in at dies: its log goes on at the other, which shows the fallback, and the show goes on.
check "to cam1" take programme one "" 0
last=$(tail -n 1 "$var/log.jsonl" | jq .at_frame)
wait_until 30 "not on cam1" mixed_to "$((last + 25))"
stop worker1 KILL
from=$(newest)
wait_until 20 "cam1 has no other home" has_home cam1 worker2
wait_until 30 "the channel does not go on" mixed_to "$((from + 150))"
worker_begin 1
wait_until 30 "cam1 did not come home" has_home cam1 worker1
wait_until 30 "cam1 is not live again" source_is cam1 live
from=$(($(newest) + 50)) # those before may have been rendered from what the home before said last
wait_until 30 "the channel does not go on" mixed_to "$((from + 120))"
same_as_logs "after a worker's death" "$from"
check "nothing concealed at a worker's death" [ "$(concealed)" = "$calm" ]

# It stands still, while its gateway goes on writing its log: another home's log counts from there on. It hears of that when it
# goes on, gives its own up, and says so.
has_forked() { vistter --json node list | jq -e '.[] | select(.name == "worker1").alarms | any(.code == "source_forked")' >/dev/null; }
kill -STOP "$(<"$run/worker1.pid")"
wait_until 20 "cam1 has no other home" has_home cam1 worker2
from=$(newest)
wait_until 30 "the channel does not go on" mixed_to "$((from + 50))"
kill -CONT "$(<"$run/worker1.pid")"
wait_until 20 "it is not told that a log has been given up" has_forked
wait_until 30 "cam1 did not come home" has_home cam1 worker1
wait_until 30 "cam1 is not live again" source_is cam1 live
from=$(($(newest) + 50)) # those before were rendered from the other log
wait_until 30 "the channel does not go on" mixed_to "$((from + 120))"
same_as_logs "after a worker stood still" "$from"
check "nothing concealed when a worker stands still" [ "$(concealed)" = "$calm" ]
check "edges agree" [ "$(vistter --json channel status show | jq .gops.mismatched)" = 0 ]

# What it sends ends whoever decodes it: the channel goes on, and it is not taken in for a while, or until it is another.
calm=$(concealed)
stop camera
camera camera "$(<"$var/passphrase")" vistter-crash 3
wait_until 60 "cam1 is not quarantined" source_is cam1 quarantined
check "in words" grep -q "not taken in" <(vistter source show cam1)
alarmed() { vistter --json node list | jq -e 'any(.[].alarms[]; .code == "source_quarantined" and (.text | test("cam1")))' >/dev/null; }
check "an alarm" alarmed
from=$(newest)
wait_until 30 "the channel does not go on" mixed_to "$((from + 50))"
check "it cost nothing else" [ "$(concealed)" = "$calm" ]
stop camera
camera camera "$(<"$var/passphrase")"
vistter source put cam1 --srt-listen "127.0.0.1:$VISTTER_CAMERA" --passphrase-file "$var/passphrase" --latency 250 --worker worker1 >/dev/null
wait_until 30 "cam1 is not live after all" source_is cam1 live
from=$(newest)
wait_until 30 "the channel does not go on" mixed_to "$((from + 150))"
same_as_logs "after what ends decoders" "$from"

# What cannot be is refused in words.
refuses() { ! vistter "$@" >"$var/out" 2>&1 && grep -qF "$said" "$var/out"; }
said='on air' check "a source that is on air stays" refuses source remove cam2
sed 's/cam2/cam9/' "$var/show.json" >"$var/other.json"
vistter timeline put other "$var/other.json" >/dev/null
vistter channel create other --width 320 --height 180 --rate 25 >/dev/null
said='cam9' check "a timeline of unknown sources" refuses channel start other other
keeps_secrets() { ! grep -lE 'a passphrase of cam1|secretkey' "$var"/log/{coordinator,worker?,edge*}.log; }
check "no secret in a log" keeps_secrets
vistter channel stop show >/dev/null
wait_until 30 "the channel did not stop" is_stopped show
vistter source remove cam2 >/dev/null
said='no such source' check "it is gone" refuses source show cam2
