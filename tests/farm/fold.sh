#!/usr/bin/env bash
# What was on air at a frame is the fold of the channel's log: every frame that the edge mixed, before
# and after each change, against an offline render of what the log says for that frame.
# Usage: fold.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"

timeline() { # file background: a picture that differs from frame to frame
    cat >"$var/$1.json" <<JSON
{"schema":"vistter.timeline/1","format":{"width":320,"height":180,"rate":"25"},"duration":1000,"loop":true,
 "background":"$2","tracks":[{"clips":[{"kind":"pattern","start":0,"duration":1000,"size":[160,90],
 "pattern":{"kind":"counter"}}]}]}
JSON
}
log() { curl -fsS "$server/api/v1/channels/fold/events"; }
effective() { log | jq -e ".[-1].at_frame != null" >/dev/null; }
mixed_past() { [ "$(tail -n 1 "$var/mixed" | cut -d' ' -f1)" -ge "$(($(log | jq '.[-1].at_frame') + 25))" ]; }
on_air_now() { # what: waits until the newest change has been on air for a second
    wait_until 60 "$1 did not take effect" effective
    wait_until 60 "$1 did not come on air" mixed_past
}

farm_of 2
timeline a1 '#102030'
timeline a2 '#403020'
timeline b1 '#206040'
vistter timeline put a "$var/a1.json" >/dev/null
on_air fold "$var/a1.json" --width 320 --height 180 --rate 25
on_air_now "the start"
vistter timeline put fold "$var/a2.json" >/dev/null
curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"timeline":"fold"}' "$server/api/v1/channels/fold/timeline" >/dev/null
on_air_now "another revision"
# A restart changes nothing of it.
stop coordinator
coordinator_start
wait_until 30 "the coordinator did not come back" curl -fsS "$server/api/v1/status"
vistter timeline put b "$var/b1.json" >/dev/null
curl -fsS -X PUT -H 'Content-Type: application/json' -d '{"timeline":"b"}' "$server/api/v1/channels/fold/timeline" >/dev/null
on_air_now "another timeline"
# Frames for which a group was late, on a machine that had other things to do: the edge says so.
allowed=$(($(counter fold late) + $(counter fold concealed)))
vistter channel stop fold >/dev/null
wait_until 30 "the channel did not stop" is_stopped fold
log >"$var/events.json"

check "four events" [ "$(jq -c '[.[].kind]' "$var/events.json")" = '["started","revision","timeline","stopped"]' ]
check "a revision goes on" [ "$(jq '.[1].payload.start_frame == .[0].payload.start_frame' "$var/events.json")" = true ]
for i in 0 2; do
    check "event $i begins at its first frame" [ "$(jq ".[$i].payload.start_frame == .[$i].at_frame" "$var/events.json")" = true ]
done
first=$(jq '.[0].at_frame' "$var/events.json") end=$(jq '.[3].at_frame' "$var/events.json")
check "nothing before the start" [ "$(awk -v f="$first" '$1 < f' "$var/mixed" | wc -l)" = 0 ]
# A stop has no plan: the edge ends when it hears of it.
last=$(tail -n 1 "$var/mixed" | cut -d' ' -f1)
check "nothing a second after the stop at $end, but $last" [ "$last" -lt "$((end + 25))" ]
differ() { diff "$var/offline" "$var/online" | grep -c '^[<>]'; }
few_differ() { [ "$(wc -l <"$var/online")" = "$((to - from))" ] && [ "$(differ)" -le "$((2 * allowed))" ]; }
for i in 0 1 2; do
    file=$(jq -r "[\"a1\",\"a2\",\"b1\"][$i]" <<<null)
    from=$(jq ".[$i].at_frame" "$var/events.json") to=$(jq ".[$i + 1].at_frame" "$var/events.json")
    start=$(jq ".[$i].payload.start_frame" "$var/events.json")
    "$build/coordinator/vistter" render "$var/$file.json" --quiet --cache "$var/render-cache" --start "$start" \
        --frames "$((from - start))..$((to - start))" --hash "$var/offline"
    awk -v a="$from" -v b="$to" '$1 >= a && $1 < b' "$var/mixed" >"$var/online"
    check "event $i: $(wc -l <"$var/online") frames from $from on, $(differ) lines differ, $allowed late" few_differ
done
