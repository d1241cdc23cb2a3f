#!/usr/bin/env bash
# A worker is killed, or stands still, while there is neither coordinator nor database: the edge turns to the standby
# by itself, and every frame is there once, in time, and the right one. Both workers provide groups, one of which
# needs what lies beneath; so both kinds of taker turn. Then there are three, one of which makes all frames too, and two
# are killed in the same moment. Then one is drained and stopped.
# Usage: takeover.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"

layers_timeline take >"$var/take.json"
begin() { # program
    case $1 in
    postgres) pg_start ;;
    coordinator) coordinator_start --cuts 1,2 ;;
    worker?) worker_start "${1#worker}" ;;
    esac
    disown -a
}
last_mixed() { tail -n 1 "$var/mixed" | cut -d' ' -f1; }
mixed_to() { [ "$(last_mixed)" -ge "$1" ]; }
is_protected() { # and all that is to be buffered is
    vistter --json channel status take |
        jq -e 'all(.groups[]; .protected) and .counters.slack_frames > 60' >/dev/null
}
has_two_standbys() {
    vistter --json channel status take | jq -e 'all(.groups[]; [.standbys[] | select(.ready)] | length == 2)' >/dev/null
}
has_copies() { vistter --json channel status take | jq -e '.purity.copies > 100' >/dev/null && is_protected && has_two_standbys; }
has_compared() { vistter --json channel status take | jq -e '.purity.sampled > 0' >/dev/null; }
turns() { grep -c provider_changed "$var/log/edge.log" || true; }
is_idle() { vistter --json node list | jq -e --arg name "$1" 'any(.[]; .name == $name and .stages == [])' >/dev/null; }

# For longer than all that is buffered lasts, without coordinator and database.
strike_alone() { # signal worker...
    local at before pids=() signal=$1 worker
    shift
    wait_until 60 "not protected before $* got $signal" is_protected
    stop postgres
    stop coordinator KILL
    at=$(last_mixed) before=$(turns)
    for worker; do pids+=("$(cat "$run/$worker.pid")"); done
    kill "-$signal" "${pids[@]}"
    wait_until 60 "no frames after $* got $signal" mixed_to $((at + 200))
    check "the edge turned when $* got $signal" [ "$(turns)" -gt "$before" ]
    [ "$signal" = KILL ] || kill -CONT "${pids[@]}"
    begin postgres
    begin coordinator
    [ "$signal" = STOP ] || for worker; do stop "$worker" KILL; begin "$worker"; done
}

farm_of 2 --cuts 1,2
disown -a # the shell's own words about who was killed
on_air take "$var/take.json" --width 320 --height 180 --rate 25
check "all workers provide" [ "$(vistter --json channel status take | jq '[.groups[].provider] | unique | length')" = 2 ]
wait_until 60 "not protected" is_protected

wait_until 60 "no frame was made twice and compared" has_compared
strike_alone KILL worker1
strike_alone STOP worker2
begin worker3
wait_until 60 "no two standbys" has_two_standbys
vistter channel redundancy take hot >/dev/null
wait_until 60 "no frame came twice" has_copies
strike_alone KILL worker1 worker2
wait_until 60 "not protected in the end" is_protected
# A drained worker may be stopped.
vistter node drain worker1 >/dev/null
wait_until 60 "the drained worker is not idle" is_idle worker1
stop worker1
wait_until 60 "no frames after draining" mixed_to $(($(last_mixed) + 150))

check "frames made twice were the same" [ "$(vistter --json channel status take | jq .purity.mismatched)" = 0 ]
check "nothing was noted" [ ! -s "$(echo "$var"/edge/as-run*.jsonl)" ]
start=$(vistter --json channel status take | jq .start_frame)
vistter channel stop take >/dev/null
wait_until 30 "the channel did not stop" is_stopped take
end=$(last_mixed)
"$build/coordinator/vistter" render "$var/take.json" --quiet --rate 25 --cache "$var/render-cache" --start "$start" --frames "0..$((end + 1 - start))" --hash "$var/offline"
check "every frame once, the right one" cmp "$var/offline" "$var/mixed"
