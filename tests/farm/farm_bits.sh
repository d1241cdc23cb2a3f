#!/usr/bin/env bash
# The farm's bits: the edge's checksums of every frame it mixed, on 1, 2 and 3 workers, with frames shared within
# the host or sent over SRT, and with the z-order cut at every place, against an offline render of the same channel
# frames. What was late, on a machine that is too slow for this at the time, the edge's ledger tells.
# Usage: farm_bits.sh BUILD_FOLDER SOURCE_FOLDER [long]: without that a part of it, by chance
. "$2/tests/farm/lib.sh"
long=${3-}

mixed_since() { # first-frame: how many frames from there on the edge has mixed
    awk -v first="$1" '$1 >= first' "$var/mixed" 2>/dev/null | wc -l
}
has_mixed() { [ "$(mixed_since "$1")" -ge "$2" ]; } # first-frame frames

# Compares what the edge mixed, from the channel's start on, with an offline render.
same_bits() { # what channel rate frames [timeline]
    local start id total differ
    read -r id start < <(vistter --json channel status "$2" | jq -r '"\(.id) \(.start_frame)"')
    wait_until 120 "$2 did not run $4 frames" has_mixed "$start" "$4"
    vistter channel stop "$2" >/dev/null
    wait_until 30 "$2 did not stop" is_stopped "$2"
    "$build/coordinator/vistter" render "$var/media-in/${5:-torture}.json" --quiet --cache "$var/render-cache" \
        --width 640 --height 360 --rate "$3" --start "$start" --frames "0..$4" --hash "$var/offline"
    awk -v first="$start" -v end=$((start + $4)) '$1 >= first && $1 < end' "$var/mixed" >"$var/online"
    check "$1: every frame, once" cmp <(cut -d' ' -f1 "$var/offline") <(cut -d' ' -f1 "$var/online")
    read -r total differ < <(ledger "$id" | compare_planned "$var/offline" "$var/online")
    echo "$1: $total of $4 frames went out as planned"
    check "$1: same bits as offline" [ "$differ" = 0 ]
    check "$1: enough of them did" [ $((4 * total)) -gt "$4" ]
    : >"$var/mixed"
}

begin() { # channel rate [timeline]
    vistter channel create "$1" --width 640 --height 360 --rate "$2" >/dev/null
    vistter channel start "$1" "${3:-torture}" >/dev/null
    wait_until 60 "$1 did not come on air" is_live "$1"
}

tracks=$("$source/tests/farm/make-torture" "$var/media-in" --complete)
round=0
counts="2 3" rates2="25 59.94"
[ "$long" ] && counts="1 2 3" || rates2=$(shuf -n 1 -e $rates2)
for workers in $counts; do
    # As many groups as workers, the cuts at random places; the adjust track stands in the middle.
    cuts=$(shuf -i 1-$((tracks - 1)) -n $((workers - 1)) | sort -n | paste -sd,)
    worker_flags=
    [ "$workers" != 2 ] || worker_flags=--srt-only
    farm_of "$workers" --cuts "$cuts"
    [ "$round" != 0 ] || vistter timeline put torture "$var/media-in/torture.json" >/dev/null
    # The rate has nothing to do with the number of workers: each rate once.
    rates=30
    [ "$workers" != 2 ] || rates=$rates2
    [ "$workers" != 3 ] || rates=29.97
    for rate in $rates; do
        round=$((round + 1))
        channel=torture$round what="$workers workers at $rate, cut at ${cuts:-no track}"
        begin $channel $rate
        providers=$(vistter --json channel status $channel | jq '[.groups[].provider] | unique | length')
        check "$what: all have a part" [ "$providers" = "$workers" ]
        same_bits "$what" $channel $rate 100
    done
    for name in edge worker1 worker2 worker3 coordinator; do stop "$name"; done
done

# The timeline that has every property on every kind of clip, but for those whose file is missing.
jq 'del(.assets.missing) | .tracks |= map(.clips |= map(select(.asset != "missing")))' \
    "$var/media-in/properties.json" >"$var/media-in/complete.json"
farm_of 3
vistter timeline put complete "$var/media-in/complete.json" >/dev/null
begin properties 29.97 complete
same_bits "every property" properties 29.97 100 complete
for name in edge worker1 worker2 worker3 coordinator; do stop "$name"; done

# Cuts, two at a time, every second pair of them, while the channel is on air: each pair is another plan at one frame. A new coordinator
# leaves the plan as it is; a destination that comes or goes makes it plan anew.
cuts_are() { # "cut,cut"
    [ "$(vistter --json channel status every | jq -r '[.groups[1:][].track_from] | map(tostring) | join(",")')" = "$1" ]
}
round=0
farm_of 2 --cuts 1
begin every 30
for cut in $(seq $((2 + RANDOM % 2 * 2)) 4 "$tracks"); do
    cuts=$((cut - 1))
    [ "$cut" -ge "$tracks" ] || cuts=$cuts,$cut
    stop coordinator
    coordinator_start --cuts "$cuts"
    if [ $((round++ % 2)) = 0 ]; then
        wait_until 30 "the coordinator did not lead" vistter destination add every --name archive --kind recording
    else
        wait_until 30 "the coordinator did not lead" vistter destination remove every archive
    fi
    wait_until 60 "the plan with the cuts at $cuts did not come on air" cuts_are "$cuts"
done
start=$(vistter --json channel status every | jq .start_frame)
same_bits "cuts on air" every 30 $(($(mixed_since "$start") + 30))
