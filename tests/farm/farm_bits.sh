#!/usr/bin/env bash
# The farm's bits: the edge's checksums of every frame it mixed, on 1, 2 and 3 workers, against an
# offline render of the same channel frames.
# Usage: farm_bits.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
frames=150

"$source/tests/farm/make-torture" "$var/media-in" --complete >/dev/null

mixed_since() { # first-frame: how many frames from there on the edge has mixed
    awk -v first="$1" '$1 >= first' "$var/mixed" 2>/dev/null | wc -l
}
enough() { [ "$(mixed_since "$start")" -ge $frames ]; }

farm_of 1
vistter timeline put torture "$var/media-in/torture.json" >/dev/null
round=0
for rate in 30 29.97; do
    for workers in 1 2 3; do
        round=$((round + 1))
        alive "worker$workers" || worker_start "$workers"
        wait_until 30 "worker$workers did not join" nodes_are $((workers + 1))
        channel=torture$round
        vistter channel create $channel --width 640 --height 360 --rate $rate >/dev/null
        vistter channel start $channel torture >/dev/null
        wait_until 60 "$channel did not come on air" is_live $channel
        start=$(vistter --json channel status $channel | jq .start_frame)
        providers=$(vistter --json channel status $channel | jq '[.groups[].provider] | unique | length')
        wait_until 120 "$channel did not run $frames frames" enough
        check "$workers workers at $rate: nothing concealed" [ "$(counter $channel concealed)" = 0 ]
        check "$workers workers at $rate: all have a part" [ "$providers" = "$workers" ]
        vistter channel stop $channel >/dev/null
        wait_until 30 "$channel did not stop" is_stopped $channel
        "$build/coordinator/cli/vistter" render "$var/media-in/torture.json" --quiet --cache "$var/render-cache" \
            --width 640 --height 360 --rate $rate --start "$start" --frames 0..$frames --hash "$var/offline"
        awk -v first="$start" -v end=$((start + frames)) '$1 >= first && $1 < end' "$var/mixed" >"$var/online"
        check "$workers workers at $rate: same bits as offline" diff -q "$var/offline" "$var/online"
        diff "$var/offline" "$var/online" | head -n 4 >&2 || true
        : >"$var/mixed"
    done
done
