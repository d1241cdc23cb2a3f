#!/usr/bin/env bash
# Live tracks, switched while on air: what each of two edges has mixed is, frame by frame, an offline render of
# the takes with the frames that the answers named; with a worker killed, the database away and the
# coordinator started anew meanwhile.
# Usage: live.sh BUILD_FOLDER SOURCE_FOLDER [TAKES]
. "$2/tests/farm/lib.sh"
count=${3:-40}

cat >"$var/show.json" <<'JSON'
{"schema":"vistter.timeline/1","format":{"width":320,"height":180,"rate":"25"},"duration":1000,"loop":true,
 "assets":{"hello":"file:/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4"},"tracks":[
 {"clips":[{"kind":"pattern","start":0,"duration":1000,"pattern":{"kind":"counter","tone":{"frequency":300,"level":-20}}}]},
 {"name":"programme","live":true,"clips":[
  {"id":"film","kind":"video","asset":"hello","loop":true,"fit":"cover"},
  {"id":"bars","kind":"pattern","pattern":{"kind":"bars","tone":{"frequency":800,"level":-20}}},
  {"id":"grid","kind":"pattern","pattern":{"kind":"grid"},"opacity":{"keyframes":[{"at":0,"value":0.3},{"at":20,"value":1}]}}]},
 {"name":"corner","live":true,"clips":[
  {"id":"logo","kind":"shape","size":[60,40],"position":[280,30],"fade_in":5,
   "shape":{"kind":"ellipse","size":[60,40],"fill":"#ff0000"}}]}]}
JSON
farm_of 2 --cuts 1,2
edge2_start --hash-file "$var/mixed2"
wait_until 30 "4 nodes did not join" nodes_are 4
on_air show "$var/show.json" --width 320 --height 180 --rate 25
wait_until 30 "not by two edges" is_paired show
start=$(vistter --json channel status show | jq .start_frame)
mixed_to() { [ "$(tail -n 1 "$var/mixed" | cut -d' ' -f1)" -ge "$1" ] && [ "$(tail -n 1 "$var/mixed2" | cut -d' ' -f1)" -ge "$1" ]; }
newest() { tail -qn 1 "$var/mixed" "$var/mixed2" | cut -d' ' -f1 | sort -n | tail -n 1; }
wait_until 30 "no frames" mixed_to "$((start + 50))"
calm_counters() { vistter --json channel status show | jq -c '[.counters | .late, .concealed]'; }
calm=$(calm_counters)

# One take: the answer's frame goes into the log. It is the playout delay (40 frames) and three on from what went out
# when the coordinator decided, which was before the answer was read here.
clips=(film bars grid '') ways=('' dissolve push zoom add)
latest=0
take() { # track clip transition frames
    local flags=() at after
    [ -z "$3" ] || flags=(--transition "$3" --frames "$4")
    at=$(vistter --json channel take show "$1" ${2:+"$2"} "${flags[@]}" | jq '.at_frame // empty')
    [ -n "$at" ] || return 1
    after=$((at - $(newest)))
    [ "$after" -le "$latest" ] || latest=$after
    jq -cn --argjson at "$at" --arg track "$1" --arg clip "$2" --arg way "$3" --argjson frames "$4" \
        '{at_frame: $at, track: $track, clip: (if $clip == "" then null else $clip end)}
         + (if $way == "" then {} else {transition: {kind: $way, duration: $frames}} end)' >>"$var/log.jsonl"
}
for n in $(seq "$count"); do
    check "take $n" take programme "${clips[n % 4]}" "${ways[n % 5]}" $((n % 7 * 3))
    [ $((n % 5)) != 0 ] || check "corner $n" take corner "$([ $((n % 10)) = 0 ] || echo logo)" dissolve 10
    sleep "0.$((n % 3))5" # an operator's hand
done
# A transition by hand: what a fader says, over REST, as any program would.
post() { # take as JSON: its frame goes into the log
    local at
    at=$(curl -fsS -H 'Content-Type: application/json' -d "$1" "$server/api/v1/channels/show/takes" | jq .at_frame)
    jq -c --argjson at "$at" '. + {at_frame: $at}' <<<"$1" >>"$var/log.jsonl"
}
check "a take by hand" post '{"track":"programme","clip":"bars","transition":{"kind":"wipe","wipe":"circle","duration":1},"manual":true}'
for fader in 0.1 0.2 0.35 0.35 0.3 0.5 0.7 0.9 1; do
    check "the fader at $fader" post "{\"track\":\"programme\",\"fader\":$fader}"
    sleep 0.03 # a hand
done
refused() { [ "$(curl -sS -o "$var/out" -w '%{http_code}' -H 'Content-Type: application/json' -d "$1" "$server/api/v1/channels/show/takes")" = 422 ]; }
check "no fader once it is over" refused '{"track":"programme","fader":0.5}'
last=$(tail -n 1 "$var/log.jsonl" | jq .at_frame)
wait_until 30 "the takes did not come on air" mixed_to "$((last + 40))"
check "nothing late, nothing concealed" [ "$(calm_counters)" = "$calm" ]
echo "at most $latest frames from the newest frame to the take's"
check "no take is further off than the playout delay and three frames, and one under way" [ "$latest" -le 44 ]

# The database is away: switching goes on, and is written once it is back.
stop postgres
take programme bars dissolve 10
take programme film "" 0
written() { "$pg_bin/psql" -qAt -h "$pg_socket" -U vistter -d vistter -c "select count(*) from takes"; }
last=$(tail -n 1 "$var/log.jsonl" | jq .at_frame)
wait_until 30 "no take without a database" mixed_to "$((last + 25))"
pg_start
all_written() { [ "$(written)" = "$(wc -l <"$var/log.jsonl")" ]; }
wait_until 30 "takes were not written" all_written
# A worker dies while there is switching: who takes over knows the log.
provider=$(vistter --json channel status show | jq -r '.groups[1].active')
stop "$provider" KILL
for n in 0 1 2; do take programme "${clips[n]}" push 12; done
worker_start "${provider#worker}"
last=$(tail -n 1 "$var/log.jsonl" | jq .at_frame)
wait_until 30 "no take without a worker" mixed_to "$((last + 50))"
# Another life of the coordinator goes on with the log.
stop coordinator KILL
coordinator_start --cuts 1,2
wait_until 30 "the coordinator did not come back" curl -fsS "$server/api/v1/status"
shows() { vistter --json channel status show | jq -e --arg clip "$1" '.live[0].clip == $clip' >/dev/null; }
wait_until 10 "the coordinator does not know what is shown" shows grid
takes_again() { take programme bars "" 0; }
wait_until 20 "no take after the coordinator's death" takes_again
last=$(tail -n 1 "$var/log.jsonl" | jq .at_frame)
wait_until 30 "the last take did not come on air" mixed_to "$((last + 25))"

end=$(newest)
jq -s . "$var/log.jsonl" >"$var/log.json"
"$build/coordinator/vistter" render "$var/show.json" --quiet --cache "$var/render-cache" --start "$start" \
    --frames "0..$((end - start))" --live "$var/log.json" --hash "$var/offline"
same_as_offline() { # mixed-file: frames that are other than they should be
    awk 'NR == FNR {right[$1] = $0; next} $1 in right && $0 != right[$1] {other++; at = at " " $1}
        END {printf "%d of %d frames differ%s\n", other, length(right), substr(at, 1, 200); exit other > 0}' "$var/offline" "$1"
}
check "one edge has the bits of an offline render" same_as_offline "$var/mixed"
check "the other edge too" same_as_offline "$var/mixed2"
check "edges agree" [ "$(vistter --json channel status show | jq .gops.mismatched)" = 0 ]

# What cannot be is refused in words.
refuses() { ! vistter channel take "$@" >"$var/out" 2>&1 && grep -qF "$said" "$var/out"; }
said='no live track' check "another track" refuses show nothing bars
said='no clip' check "another clip" refuses show programme nothing
said='no such channel' check "another channel" refuses other programme bars
