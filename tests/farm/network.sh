#!/usr/bin/env bash
# A farm of five hosts, coordinator, two workers, two edges, each a network namespace, with one bad thing after the other:
# hosts apart, one way only, packets lost, in bursts, late, out of order, twice, large ones lost, a host frozen, one
# starved of its processor. Each lasts longer than what is buffered, or comes again and again. Each edge has mixed every
# frame once, in time, and the right one.
# Losses are the kernel's (a filter where packets come in), delays those of tests/relay/tun_relay.c.
# Usage: network.sh BUILD_FOLDER SOURCE_FOLDER [FAULT...]
. "$2/tests/farm/lib.sh"
hosts=(coord work1 work2 edge1 edge2)
. "$2/tests/farm/net.sh"
shift 2

# ---- The farm ----------------------------------------------------------------------------------
farm_prepare
pg_start
key=(--cluster-key "$var/keys/cluster.key")
begin coordinator coord "$build/coordinator/vistter-coordinator" --database "$pg_database" --http-listen "$subnet.1:8080" \
    --control-listen "$subnet.1:7700" --media "$var/media" --media-url "http://$subnet.1:8080/api/v1/media" \
    --migrations "$top/migrations" --secret-key "$var/keys/secret.key" "${key[@]}" --cuts 1,2
node=(--coordinators "$subnet.1:7700" "${key[@]}" --frame-latency 200)
for n in 1 2; do
    begin worker$n work$n "$build/worker/vistter-worker" --name worker$n --frame-listen "$(address work$n):7801" \
        --cache "$var/cache/worker$n" --state-folder "$var/worker$n" "${node[@]}"
    begin edge${n#1} edge$n "$build/edge/vistter-edge" --name edge$n --frame-listen "$(address edge$n):7800" \
        --cache "$var/cache/edge$n" --state-folder "$var/edge$n" --preview-listen '' --record-folder "$var/recordings" \
        --hash-file "$var/mixed$n" "${node[@]}"
done
disown -a
layers_timeline net >"$var/net.json"
wait_until 30 "the coordinator did not start" vistter status
wait_until 30 "the nodes did not join" nodes_are 4
on_air net "$var/net.json" --width 320 --height 180 --rate 25
is_ready() { # both edges make it, with standbys, all that is to be buffered is
    vistter --json channel status net | jq -e 'all(.groups[]; .protected) and .counters.slack_frames > 40 and
        ([.edge, .backup_edge] | sort) == ["edge1", "edge2"] and ([.groups[].provider] | unique | length) == 2' >/dev/null
}
last_mixed() { tail -n 1 "$var/mixed$1" | cut -d' ' -f1; }
both_mixed_to() { [ "$(last_mixed 1)" -ge "$1" ] && [ "$(last_mixed 2)" -ge "$1" ]; }

# ---- The faults: to "edge", the one that leads, and "worker", the one it takes the lowest group from ------------------
F24_what="coordinator and an edge apart"
F24_start() { block coord "$edge"; block "$edge" coord; }
F24_end() { open coord "$edge"; }
F25_what="an edge does not hear the coordinator"
F25_start() { block "$edge" coord; }
F25_end() { open "$edge"; }
F26_what="a worker and an edge apart"
F26_start() { block "$worker" "$edge"; block "$edge" "$worker"; }
F26_end() { open "$worker" "$edge"; }
F27_what="an edge does not hear a worker"
F27_start() { block "$edge" "$worker"; }
F27_end() { open "$edge"; }
F31_what="1 % lost"
F31_start() { lose 0.01 "${hosts[@]}"; }
F31_end() { open "${hosts[@]}"; }
F32_what="5 % lost, round trip 40 ms"
F32_start() { delay 20 0 0; lose 0.05 "${hosts[@]}"; }
F32_end() { delay 0 0 0; open "${hosts[@]}"; }
F33_what="20 % lost"
F33_start() { lose 0.2 "${hosts[@]}"; }
F33_end() { open "${hosts[@]}"; }
F34_what="all lost for 300 ms, three times"
F34_start() {
    for _ in 1 2 3; do
        lose 1 "${hosts[@]}"
        pause 0.3
        open "${hosts[@]}"
        pause 1.5
    done
}
F34_end() { :; }
F35_what="30 ms of jitter, out of order, 1 % twice"
F35_start() { delay 2 30 1; }
F35_end() { delay 0 0 0; }
F39_what="packets of a worker above 1200 bytes vanish"
F39_start() { local host; for host in "${hosts[@]}"; do lose_large 1200 "$host" "$worker"; done; }
F39_end() { open "${hosts[@]}"; }
F4_what="a worker's host frozen"
F4_start() { freeze "$worker"; }
F4_end() { thaw; }
F5_what="a worker with a fiftieth of a processor"
F5_start() { starve "$worker" 2000; }
F5_end() { feed; }
turning="F26 F27 F39 F4 F5" # at these the edge has to turn to the standby

# What an edge's log says since a line of it: when it turned away from a provider, after the fault began; how long the
# standby's first frame took then, and how many of the 75 frames ahead were still there. Nothing: it did not turn.
turned_after() { # edge line ms
    local log changed answered why
    log=$(tail -n +"$(($2 + 1))" "$var/log/edge${1#1}.log")
    changed=$(grep -m1 provider_changed <<<"$log") || return 0
    why=$(sed 's/.*reason="\([^"]*\)".*/\1/' <<<"$changed")
    answered=$(grep -m1 provider_answered <<<"$log" | sed 's/.* after_ms=\([0-9]*\) slack=\([0-9]*\).*/, first frame \1 ms later, \2 of 75 left/')
    echo "; edge$1 turned after $(($(date -d "${changed%% *}" +%s%N) / 1000000 - $3)) ms ($why)$answered"
}
# The host of whom an edge takes the lowest group from.
worker_of() { # edge
    local name=$1 plan to
    plan=$(vistter --json channel status net | jq .plan_epoch)
    to=$(grep "provider_changed channel=[0-9]* plan=$plan group=1 " "$var/log/${name/edge1/edge}.log" | tail -n 1 | sed 's/.* to=\([^ ]*\).*/\1/')
    [ -n "$to" ] || to=$(vistter --json channel status net | jq -r '.groups[0].provider')
    echo "${to/worker/work}"
}
suffer() { # fault
    local began lines1 lines2 from edge worker turned what=$1_what
    wait_until 120 "not ready for $1" is_ready
    edge=$(vistter --json channel status net | jq -r .edge)
    worker=$(worker_of "$edge")
    from=$(last_mixed 1) lines1=$(wc -l <"$var/log/edge.log") lines2=$(wc -l <"$var/log/edge2.log")
    began=$((${EPOCHREALTIME/./} / 1000))
    "$1_start"
    # Four seconds: a node that is not heard for nearly six is planned around, and the next fault would meet that plan.
    wait_until 30 "$1: the edges do not go on" both_mixed_to $((from + 100))
    turned=$(turned_after 1 "$lines1" $began)$(turned_after 2 "$lines2" $began)
    echo "$1 ${!what}: frames $from to $(last_mixed 1)$turned"
    [[ " $turning " != *" $1 "* ]] || check "$1: $edge turned to the standby" grep -q "$edge turned" <<<"$turned"
    "$1_end"
    faults="$faults $1:$from"
}
# Turns away from a worker that was only not heard for a moment, where nothing was wrong: work for nothing.
false_alarms() { cat "$var/log/edge.log" "$var/log/edge2.log" | grep -c 'provider_changed .*reason="not heard"' || true; }
faults=
wait_until 60 "not ready" is_ready
at=$(last_mixed 1) alarms=$(false_alarms)
wait_until 60 "the edges do not go on" both_mixed_to $((at + 500))
echo "at rest: $(($(false_alarms) - alarms)) false alarms in 20 s, $alarms before"
[ $# -gt 0 ] || set -- F24 F25 F26 F27 F31 F32 F33 F34 F35 F39 F4 F5
for fault; do suffer "$fault"; done
wait_until 60 "not ready in the end" is_ready
wait_until 30 "the edges do not go on" both_mixed_to $(($(last_mixed 1) + 25))
start=$(vistter --json channel status net | jq .start_frame)
vistter channel stop net >/dev/null
wait_until 30 "the channel did not stop" is_stopped net
end=$(last_mixed 1)
[ "$(last_mixed 2)" -ge "$end" ] || end=$(last_mixed 2)
"$build/coordinator/vistter" render "$var/net.json" --quiet --rate 25 --cache "$var/render-cache" --start "$start" \
    --frames "0..$((end + 1 - start))" --hash "$var/offline"
# The frames that are not as they should be, and since which fault. An edge that is apart from the coordinator for five
# seconds is planned around: after that it need not have those that the other has.
wrong() { # edge other
    awk -v end="$end" -v faults="$faults" '
        FILENAME ~ /offline$/ {right[$1] = $0; next}
        $1 > end {next}
        FILENAME ~ /mixed'"$1"'$/ {here[$1]++; if ($0 != right[$1]) bad[$1] = 1; next}
        $0 == right[$1] {there[$1] = 1}
        END {
            n = split(faults, list)
            for (number in right) {
                since = ""
                for (i = 1; i <= n; i++) {split(list[i], part, ":"); if (part[2] <= number + 0) since = part[1]}
                if (here[number] == 1 && !bad[number]) continue
                if (!here[number] && there[number] && (since == "F24" || since == "F25")) continue
                count[since]++
                if (!(since in first) || number + 0 < first[since]) first[since] = number + 0
            }
            for (i in count) printf "%s: %d frames from %d on; ", i, count[i], first[i]
        }' "$var/offline" "$var/mixed$1" "$var/mixed$2"
}
for pair in "1 2" "2 1"; do
    found=$(wrong $pair)
    check "edge${pair% *} has mixed every frame once, the right one ($found)" [ -z "$found" ]
done
