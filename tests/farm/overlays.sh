#!/usr/bin/env bash
# A worker whose processor does not keep up: it gives up samples and copies, of which it has none, then what the
# timeline calls optional goes, on both edges at one frame, which the log and the as-run ledgers name. With time again it
# comes back. Every frame at either edge is the right one: with optional tracks or without, as the log says, and with the
# sound of those that are left out. Where the worker was too slow before the plan without them began, the edges' ledgers
# say so.
# Usage: overlays.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
[ "$(id -u)" = 0 ] || { echo "control groups need root" >&2; trap - EXIT; exit 77; }
clean_up() { groups_remove; }
farm_of 1
edge2_start --hash-file "$var/mixed2"
wait_until 30 "the second edge did not join" nodes_are 3

# What can be left out costs most: turning takes each pixel anew.
overlay() { # position turns
    cat <<JSON
{"optional":true,"clips":[{"kind":"pattern","start":0,"duration":500,"pattern":{"kind":"bars"},"size":[440,250],
 "position":[320,180],"anchor":[0.5,0.5],"opacity":0.3,
 "rotation":{"keyframes":[{"at":0,"value":$1},{"at":500,"value":$2}]}}]}
JSON
}
cat >"$var/layers.json" <<JSON
{"schema":"vistter.timeline/1","name":"layers","format":{"width":640,"height":360,"rate":"25"},"duration":500,
 "loop":true,"tracks":[{"clips":[{"kind":"pattern","start":0,"duration":500,"pattern":{"kind":"grid"}}]},
 $(overlay 0 360),$(overlay 30 -330),$(overlay 60 420),$(overlay 90 -270),
 {"optional":true,"clips":[{"kind":"pattern","start":0,"duration":500,"size":[320,180],
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]}]}
JSON
on_air layers "$var/layers.json" --width 640 --height 360 --rate 25 --redundancy none
is_paired() { vistter --json channel status layers | jq -e '[.edge, .backup_edge] | sort == ["edge1", "edge2"]' >/dev/null; }
wait_until 30 "not at both edges" is_paired
worker_now() { vistter --json node list | jq -r '.[] | select(.role == "worker") | '"$1"; }
is_given_up() { [ "$(worker_now .overload)" = "$1" ]; }
alarm() { worker_now '.alarms[] | select(.code == "overloaded") | .text'; }
is_full() { [ "$(counter layers slack_frames)" -gt 65 ]; }
without() { [ "$(vistter --json channel status layers | jq .without_optional)" = "$1" ]; }
mixed_at() { [ "$(tail -n 1 "$var/mixed" | cut -d' ' -f1)" -ge "$1" ] && [ "$(tail -n 1 "$var/mixed2" | cut -d' ' -f1)" -ge "$1" ]; }
log() { curl -fsS "$server/api/v1/channels/layers/events"; }
wait_until 60 "what is to be buffered is not" is_full

# What it takes of a processor in 100 ms, in microseconds.
worker=$(cat "$run/worker1.pid")
taken() { awk '{print $14 + $15}' "/proc/$worker/stat"; }
ration -1
if [ -e "$(group_of cpu)/tasks" ]; then
    for task in /proc/"$worker"/task/*; do echo "${task##*/}" 2>/dev/null >"$(group_of cpu)/tasks" || true; done
else
    echo "$worker" >"$(group_of cpu)/cgroup.procs"
fi
before=$(taken) began=${EPOCHREALTIME/./}
pause 5
share=$((($(taken) - before) * 10000 * 100000 / (${EPOCHREALTIME/./} - began)))
echo "of 100 ms the worker takes $((share / 1000)) ms" >&2
check "nothing is given up before" is_given_up ""
check "nothing is left out before" without false
lines=$(wc -l <"$var/log/worker1.log")

# Less and less, so that what is buffered lasts until all has gone its way.
for part in 90 85 80 75 70 60 50; do
    ration $((share * part / 100))
    for _ in $(seq 10); do ! is_given_up overlays || break 2; pause 1; done
done
wait_until 5 "overlays are not given up" is_given_up overlays
echo "with $part % of it overlays are given up" >&2
given_up=$(alarm)
check "it says all ($given_up)" grep -q "rendering; given up so far: samples, copies, overlays" <<<"$given_up"
wait_until 30 "no plan without them" without true
check "the list says so" grep -q "without optional tracks" <(vistter channel list)
wait_until 20 "not on air without them" mixed_at $(($(log | jq '.[-1].at_frame') + 25))
ration -1
wait_until 60 "not all comes back" is_given_up ""
wait_until 60 "no plan with them" without false
check "no alarm is left" [ -z "$(alarm)" ]
order=$(tail -n +$((lines + 1)) "$var/log/worker1.log" | sed -n 's/.* overloaded gives_up=\([a-z]*\).*/-\1/p; s/.* takes_up what=\([a-z]*\).*/+\1/p' | tr '\n' ' ')
check "one after the other, and back ($order)" [ "$order" = "-samples -copies -overlays +overlays +copies +samples " ]
wait_until 20 "not on air with them" mixed_at $(($(log | jq '.[-1].at_frame') + 50))
check "no frame is skipped" [ "$(counter layers skipped)" = 0 ]
vistter channel stop layers >/dev/null
wait_until 30 "the channel did not stop" is_stopped layers
log >"$var/events.json"
check "the log says when" [ "$(jq -c '[.[] | [.kind, .payload.without_optional]]' "$var/events.json")" = \
    '[["started",null],["optional",true],["optional",false],["stopped",null]]' ]

# Each part of the programme at each edge, by the log alone.
start=$(jq '.[0].payload.start_frame' "$var/events.json")
for i in 0 1 2; do
    from=$(jq ".[$i].at_frame" "$var/events.json") flag=
    to=$(jq ".[$i + 1].at_frame" "$var/events.json")
    [ $i != 1 ] || flag=--without-optional
    "$build/coordinator/vistter" render "$var/layers.json" --quiet --rate 25 --cache "$var/render-cache" --start "$start" \
        --frames "$((from - start))..$((to - start))" --hash "$var/offline$i" $flag
done
cat "$var"/offline? | sort -n >"$var/offline"
end=$(tail -qn 1 "$var/mixed" "$var/mixed2" | cut -d' ' -f1 | sort -n | head -n 1)
# Frames that are missing, there twice, or not the right one, but for those that a ledger has as held or replaced; the
# first sound after those is faded in.
wrong() { # mixed ledger
    jq -r 'select(.step != "without_optional") | "\(.from) \(.to)"' "$2" >"$var/held"
    awk -v end="$end" 'FILENAME ~ /held$/ {for (n = $1; n <= $2; n++) held[n] = 1; next}
        FILENAME ~ /offline$/ {right[$1] = $0; picture[$1] = $2; next}
        $1 >= end {next}
        {if (!from) from = $1; seen[$1]++; if (held[$1] || (held[$1 - 1] && $2 == picture[$1])) next; if ($0 != right[$1]) {bad++; print "not right:", $0, "but", right[$1] >"/dev/stderr"}}
        END {for (n = from; n < end; n++) {bad += seen[n] != 1; count += held[n] > 0}; print bad + 0, end - from, count + 0}' "$var/held" "$var/offline" "$1"
}
for edge in mixed:edge mixed2:edge2; do
    read -r bad count held < <(wrong "$var/${edge%:*}" "$var/${edge#*:}"/as-run-*.jsonl)
    check "${edge#*:}: $bad frames of $count are not right, $held held" [ "$bad" = 0 ] && [ "$count" -gt 500 ]
    check "${edge#*:}: few are held ($held)" [ "$held" -le 75 ]
done
from=$(jq '.[1].at_frame' "$var/events.json") to=$(jq '.[2].at_frame' "$var/events.json")
echo "$((to - from)) frames without optional tracks, from $from on" >&2
for ledger in "$var"/edge*/as-run-*.jsonl; do
    check "as-run of ${ledger#"$var/"}" [ "$(jq -c 'select(.step == "without_optional") | [.from, .to]' "$ledger")" = "[$from,$((to - 1))]" ]
done
