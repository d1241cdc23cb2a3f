#!/usr/bin/env bash
# The power goes, for all programs at once; workers and edges come back, coordinator and database do not. What is on air
# then is the right frame of the right programme within 15 seconds, and from then on: every frame is compared with what
# an offline render says for its number. Until files are open again it may be the slate.
# Usage: power_cut.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
rate=25
cat >"$var/cut.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"cut","format":{"width":320,"height":180,"rate":"25"},"duration":200,
 "loop":true,"assets":{"hello":"file:/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4"},"tracks":[
 {"clips":[{"kind":"video","asset":"hello","start":0,"duration":200,"fit":"cover","opacity":0.8}]},
 {"clips":[{"kind":"pattern","start":0,"duration":200,"size":[160,90],
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]}]}
JSON
last_mixed() { tail -n 1 "$var/mixed" | cut -d' ' -f1; }
is_protected() { vistter --json channel status cut | jq -e '.state == "on_air" and all(.groups[]; .protected)'; }
mixed_since() { [ "$(last_mixed)" -ge "$1" ]; }
seconds_since() { awk -v from="$1" -v to="$(date +%s.%N)" 'BEGIN {printf "%.1f", to - from}'; }

farm_of 2 --cuts 1
disown -a # the shell's own words about who was killed
on_air cut "$var/cut.json" --width 320 --height 180 --rate "$rate"
wait_until 30 "groups have no standbys" is_protected
start=$(vistter --json channel status cut | jq .start_frame)

for name in edge worker1 worker2 coordinator postgres; do stop "$name" KILL; done
gone=$(last_mixed)
returned_at=$(date +%s.%N)
worker_start 1
worker_start 2
edge_start --hash-file "$var/mixed"
disown -a
wait_until 15 "nothing is on air" mixed_since $((gone + 1))
took=$(seconds_since "$returned_at")
first=$(awk -v gone="$gone" '$1 > gone {print $1; exit}' "$var/mixed")
wait_until 30 "no frames follow" mixed_since $((first + 100))
check "neither coordinator nor database" eval '! alive coordinator && ! alive postgres'
end=$(last_mixed)

"$build/coordinator/vistter" render "$var/cut.json" --quiet --rate "$rate" --cache "$var/render-cache" --start "$start" \
    --frames "0..$((end + 1 - start))" --hash "$var/offline"
awk -v first="$first" -v end="$end" 'FILENAME == ARGV[1] {expected[$1] = $2 " " $3; next}
    $1 >= first && $1 <= end {
        count++
        if (expected[$1] == $2 " " $3) {right = 1; next}
        # The first sound after none is faded in.
        split(expected[$1], e, " ")
        if (e[1] == $2 && (!right || $1 == first)) {right = 1; next}
        if (right) differ++
        else slate++
    }
    END {print count, differ + 0, end - first + 1 - count, slate + 0}' \
    "$var/offline" "$var/mixed" >"$var/compared"
read -r count differ missing slate <"$var/compared"
echo "on air again after $took s; $count frames, first $slate of the slate, later $differ not as planned"
check "every frame from the first right one on is right" [ "$differ" = 0 ]
check "the right one comes within 15 s" awk -v took="$took" -v slate="$slate" -v rate="$rate" 'BEGIN {exit took + slate / rate > 15}'
check "no frame is missing" [ "$missing" = 0 ]
check "for long enough" [ "$count" -ge 100 ]
