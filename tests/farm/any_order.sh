#!/usr/bin/env bash
# Any program may stop, or be killed, and start again, in any order: the channel is on air again, what
# is mixed is what the timeline says wherever the as-run ledger notes nothing, and coordinator,
# database and one of the workers are not missed at all.
# Usage: any_order.sh BUILD_FOLDER SOURCE_FOLDER [SEED | short]
# short: all programs once, asked, and 10 frames a second of a small film: what programs built with sanitizers can do.
. "$2/tests/farm/lib.sh"
seed=${3:-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
echo "seed $seed"
rate=25
film=/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4
if [ "$seed" = short ]; then
    rate=10 film=$var/film.mp4
    ffmpeg -v error -nostdin -f lavfi -i testsrc2=s=160x90:r=25:d=8 -f lavfi -i sine=d=8 -pix_fmt yuv420p "$film"
fi

begin() { # program
    case $1 in
    postgres) pg_start ;;
    coordinator) coordinator_start --cuts 1 ;;
    edge) edge_start --hash-file "$var/mixed" ;;
    worker?) worker_start "${1#worker}" ;;
    esac
    disown -a
}

# 25 frames in a row that are as planned, all that is to be buffered, and standbys for all groups.
settled() {
    local frames concealed
    read -r frames concealed < <(vistter --json channel status order | jq -r --argjson rate "$rate" '
        select(.state == "on_air" and all(.groups[]; .protected) and .counters.slack_frames > 2 * $rate) |
        "\(.counters.frames) \(.counters.concealed)"') || return 1
    if [ "$concealed" != "$seen_concealed" ] || [ "$frames" -lt "$seen_frames" ]; then
        seen_concealed=$concealed seen_frames=$frames
        return 1
    fi
    [ "$frames" -ge $((seen_frames + 25)) ]
}
last_mixed() { tail -n 1 "$var/mixed" | cut -d' ' -f1; }
noted() { cat "$var"/edge/as-run*.jsonl 2>/dev/null | wc -l; } # lines of the ledger
gaps_since() { # frame: how many frames are missing from there on
    awk -v at="$1" '$1 >= at {n++; last = $1} END {print last - at + 1 - n}' "$var/mixed"
}

cat >"$var/order.json" <<JSON
{"schema":"vistter.timeline/1","name":"order","format":{"width":320,"height":180,"rate":"25"},"duration":200,
 "loop":true,"assets":{"hello":"file:$film"},"tracks":[
 {"clips":[{"kind":"video","asset":"hello","start":0,"duration":200,"fit":"cover","opacity":0.8}]},
 {"clips":[{"kind":"pattern","start":0,"duration":200,"size":[160,90],
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]},
 {"clips":[{"kind":"shape","start":0,"duration":200,"rotation":{"keyframes":[{"at":0,"value":0},{"at":199,"value":360}]},
  "position":[250,135],"shape":{"kind":"rectangle","size":[60,30],"fill":"#ff8800c0"}}]}]}
JSON
farm_of 2 --cuts 1
disown -a # the shell's own words about who was killed
on_air order "$var/order.json" --width 320 --height 180 --rate "$rate"

# One round a line: programs with the signals that stop them, a bar, the order in which they start.
plan_rounds() {
    if [ "$seed" = short ]; then
        echo "coordinator:TERM worker1:TERM edge:TERM worker2:TERM postgres:TERM | edge worker2 coordinator postgres worker1"
        return
    fi
    awk -v seed="$seed" '
        function shuffle(i, j, t) {for (i = 5; i > 1; i--) {j = 1 + int(rand() * i); t = p[i]; p[i] = p[j]; p[j] = t}}
        BEGIN {
            print "coordinator:KILL | coordinator"
            print "postgres:KILL | postgres"
            print "postgres:TERM coordinator:TERM | coordinator postgres"
            split("postgres coordinator worker1 worker2 edge", p)
            srand(seed)
            for (round = 0; round < 5; round++) {
                shuffle(); n = 1 + int(rand() * 5)
                for (i = 1; i <= n; i++) {printf "%s:%s ", p[i], rand() < 0.5 ? "TERM" : "KILL"; chosen[i] = p[i]}
                printf "|"
                shuffle()
                for (i = 1; i <= 5; i++) for (j = 1; j <= n; j++) if (chosen[j] == p[i]) printf " %s", p[i]
                print ""
            }
        }'
}
plan_rounds >"$var/rounds"
: >"$var/unsure"
while IFS='|' read -r stops starts; do
    echo "$stops|$starts"
    seen_concealed='' seen_frames=0
    wait_until 60 "not settled before: $stops" settled
    at=$(last_mixed) lines=$(noted) worker_stopped=''
    for each in $stops; do
        case $each in
        postgres:TERM) stop postgres ;; # which would wait for its clients
        *) stop "${each%:*}" "${each#*:}" ;;
        esac
        [[ $each != worker* ]] || worker_stopped=yes
        # A killed edge cannot note the frames that it had just then concealed.
        [ "$worker_stopped$each" != yesedge:KILL ] || echo "$at $(last_mixed)" >>"$var/unsure"
    done
    for name in $starts; do begin "$name"; done
    seen_concealed='' seen_frames=0
    if ! (wait_until 60 "seed $seed: not on air again" settled); then
        check "on air again after: $stops|$starts" false
        exit 1
    fi
    check "all run after: $stops|$starts" farm_is_whole
    # One worker's place the other takes.
    if [[ $stops != *edge* && $stops != *worker*worker* ]]; then
        check "nothing noted: $stops|$starts" [ "$(noted)" = "$lines" ]
        check "no gap: $stops|$starts" [ "$(gaps_since "$at")" = 0 ]
    fi
done <"$var/rounds"
start=$(vistter --json channel status order | jq .start_frame)
vistter channel stop order >/dev/null
wait_until 30 "the channel did not stop" is_stopped order

check "frames in rising order" sort -nuc -k1,1 "$var/mixed"
end=$(last_mixed)
"$build/coordinator/vistter" render "$var/order.json" --quiet --rate "$rate" --cache "$var/render-cache" --start "$start" --frames "0..$((end + 1 - start))" --hash "$var/offline"
read -r total differ < <(cat <(ledger) "$var/unsure" | compare_planned "$var/offline" "$var/mixed")
echo "$total of $((end + 1 - start)) frames went out as planned"
check "same bits as offline" [ "$differ" = 0 ]
check "enough frames" [ "$total" -ge 60 ]
