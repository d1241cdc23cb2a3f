#!/usr/bin/env bash
# The farm's bits: the edge's checksums of every frame it mixed, on 1, 2 and 3 workers, against an
# offline render of the same channel frames.
# Usage: farm_bits.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
frames=100

mixed_since() { # first-frame: how many frames from there on the edge has mixed
    awk -v first="$1" '$1 >= first' "$var/mixed" 2>/dev/null | wc -l
}
enough() { [ "$(mixed_since "$start")" -ge $frames ]; }

tracks=$("$source/tests/farm/make-torture" "$var/media-in" --complete)
round=0
for workers in 1 2 3; do
    # As many groups as workers, the cuts at random places above the highest track that needs what
    # lies beneath.
    cuts=$(shuf -i 7-$((tracks - 1)) -n $((workers - 1)) | sort -n | paste -sd,)
    farm_of "$workers" --cuts "$cuts"
    [ "$round" != 0 ] || vistter timeline put torture "$var/media-in/torture.json" >/dev/null
    for rate in 30 29.97 25 59.94; do
        round=$((round + 1))
        channel=torture$round what="$workers workers at $rate, cut at ${cuts:-no track}"
        vistter channel create $channel --width 640 --height 360 --rate $rate >/dev/null
        vistter channel start $channel torture >/dev/null
        wait_until 60 "$channel did not come on air" is_live $channel
        start=$(vistter --json channel status $channel | jq .start_frame)
        providers=$(vistter --json channel status $channel | jq '[.groups[].provider] | unique | length')
        wait_until 120 "$channel did not run $frames frames" enough
        check "$what: nothing concealed" [ "$(counter $channel concealed)" = 0 ]
        check "$what: all have a part" [ "$providers" = "$workers" ]
        vistter channel stop $channel >/dev/null
        wait_until 30 "$channel did not stop" is_stopped $channel
        "$build/coordinator/vistter" render "$var/media-in/torture.json" --quiet --cache "$var/render-cache" \
            --width 640 --height 360 --rate $rate --start "$start" --frames 0..$frames --hash "$var/offline"
        awk -v first="$start" -v end=$((start + frames)) '$1 >= first && $1 < end' "$var/mixed" >"$var/online"
        check "$what: same bits as offline" diff -q "$var/offline" "$var/online"
        diff "$var/offline" "$var/online" | head -n 4 >&2 || true
        : >"$var/mixed"
    done
    for name in edge worker1 worker2 worker3 coordinator; do stop "$name"; done
done
