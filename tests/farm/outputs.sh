#!/usr/bin/env bash
# Outputs beside the programme, and the slate. Each output's checksums against an offline render of
# what it should be; then all workers die, and the slate's picture and sound are on air until one is
# back, as the ledger says.
# Usage: outputs.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"

render() { # timeline output arguments...
    "$build/coordinator/vistter" render "$1" --quiet --cache "$var/render-cache" --hash "$2" "${@:3}"
}
mixed() { awk -v first="$start" -v end=$((start + 90)) '$1 >= first && $1 < end' "$1"; } # hash-file
has_mixed() { [ "$(mixed "$1" 2>/dev/null | wc -l)" = 90 ]; }

# Light, since it is rendered in three sizes and encoded four times: a video, shapes of which one moves, a counter with a
# tone. That renders of all there is are the same everywhere is what same_bits and farm_bits look at.
cat >"$var/programme.json" <<'JSON'
{"schema": "vistter.timeline/1", "format": {"width": 640, "height": 360, "rate": "30"}, "duration": 60, "loop": true,
 "assets": {"hello": "file:/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4"}, "tracks": [
 {"clips": [{"kind": "video", "asset": "hello", "start": 0, "duration": 60, "fit": "cover"}]},
 {"clips": [{"kind": "shape", "start": 0, "duration": 60, "opacity": 0.7, "size": [120, 80],
  "position": {"keyframes": [{"at": 0, "value": [100, 100]}, {"at": 60, "value": [500, 240]}]},
  "shape": {"kind": "ellipse", "size": [120, 80], "fill": "#ff8000"}}]},
 {"clips": [{"kind": "shape", "start": 10, "duration": 30, "size": [60, 60], "position": [560, 60], "fade_in": 8,
  "shape": {"kind": "rectangle", "size": [60, 60], "fill": "#00a0ff"}}]},
 {"clips": [{"kind": "pattern", "start": 0, "duration": 60, "size": [200, 60], "position": [160, 300],
  "pattern": {"kind": "counter", "tone": {"frequency": 440, "level": -20}}}]},
 {"clips": [{"kind": "shape", "start": 20, "duration": 40, "size": [40, 40], "position": [320, 180], "blend": "add",
  "shape": {"kind": "ellipse", "size": [40, 40], "fill": "#404040"}}]}]}
JSON
jq '.tracks |= .[:3]' "$var/programme.json" >"$var/clean.json"
cat >"$var/slate.json" <<'JSON'
{"schema": "vistter.timeline/1", "format": {"width": 640, "height": 360, "rate": "30"}, "duration": 40,
 "background": "#203050", "tracks": [{"clips": [{"kind": "pattern", "start": 0, "duration": 40,
 "size": [320, 180], "pattern": {"kind": "bars", "tone": {"frequency": 440, "level": -20}}}]}]}
JSON
farm_of 2 --cuts 1 # light as it is, one worker would do it alone
vistter timeline put programme "$var/programme.json" >/dev/null
vistter timeline put slate "$var/slate.json" >/dev/null
vistter channel create main --width 480 --height 270 --rate 15 >/dev/null
vistter channel slate main slate >/dev/null
vistter output add main --name small --width 240 --height 136 >/dev/null
vistter output add main --name clean --tracks 3 >/dev/null
vistter destination add main --name archive --kind recording --output clean >/dev/null
vistter channel start main programme >/dev/null
wait_until 60 "main did not come on air" is_live main
start=$(vistter --json channel status main | jq .start_frame)

for output in "" .small .clean; do
    wait_until 60 "output '$output' did not run" has_mixed "$var/mixed$output"
done
render "$var/programme.json" "$var/offline" --start "$start" --rate 15 --frames 0..90 --width 480 --height 270
render "$var/programme.json" "$var/offline.small" --start "$start" --rate 15 --frames 0..90 --width 240 --height 136
render "$var/clean.json" "$var/offline.clean" --start "$start" --rate 15 --frames 0..90 --width 480 --height 270
for output in "" .small .clean; do
    check "output '$output' has the bits of an offline render" diff -q <(mixed "$var/mixed$output") "$var/offline$output"
done
groups=$(vistter --json channel status main | jq -c .groups)
check "there is a cut where the clean feed ends" jq -e 'any(.width == 480 and .track_from == 3)' <<<"$groups"
check "both workers have a part" jq -e 'map(.provider) | unique | length == 2' <<<"$groups"
check "each size starts from its base" jq -e '[.[] | select(.track_from == 0) | .width] | sort == [240, 480]' <<<"$groups"
check "nothing concealed" [ "$(counter main concealed)" = 0 ]
check "the clean feed is recorded under its own name" compgen -G "$var/recordings/main-clean*" >/dev/null

# An output that comes while the channel is on air, and one that goes, change nothing else.
vistter output add main --name late --width 320 --height 180 >/dev/null
wait_until 60 "the late output did not run" test -s "$var/mixed.late"
vistter output remove main small >/dev/null
outputs_on_air() { vistter --json channel status main | jq -e '.groups | all(.width != 240)' >/dev/null; }
wait_until 60 "the small output did not go" outputs_on_air
check "still nothing concealed" [ "$(counter main concealed)" = 0 ]

# The slate.
render "$var/slate.json" "$var/offline.slate" --rate 15 --frames 0..20 --width 480 --height 270
slate_line() { # frame: what the slate's line for this channel frame must be
    awk -v n="$1" '$1 == n % 20 {print $2, $3}' "$var/offline.slate"
}
on_slate() { # a whole second of the programme is the slate, picture and sound
    local n picture sound
    tail -n 15 "$var/mixed" | while read -r n picture sound; do
        [ "$picture $sound" = "$(slate_line "$n")" ] || return 1
    done
}
stop worker1 KILL
stop worker2 KILL
wait_until 30 "the slate did not come" on_slate
check "the slate is on air" on_slate
check "the channel is still on air" is_live main
worker_start 1
on_programme() { # a whole second of it; the timeline repeats after 30 frames, and so does its offline render
    local n picture sound
    tail -n 15 "$var/mixed" | while read -r n picture sound; do
        awk -v n=$((start + (n - start) % 30)) '$1 == n {print $2, $3}' "$var/offline" | grep -qx "$picture $sound" || return 1
    done
}
wait_until 60 "the programme did not come back" on_programme
ledger_says() { cat "$var/edge"/as-run-*.jsonl | jq -se --arg step "$1" 'any(.output == 1 and .step == $step)' >/dev/null; }
wait_until 10 "the ledger does not tell of the slate" ledger_says slate
check "the ledger tells of what was held" ledger_says hold
# Every programme frame that is no frame of the timeline is in a run of the ledger.
check "the ledger has every frame on the slate" jq -se --rawfile mixed "$var/mixed" \
    --arg picture "$(head -n 1 "$var/offline.slate" | cut -d' ' -f2)" '
    [.[] | select(.output == 1)] as $runs
    | [$mixed | split("\n")[] | split(" ") | select(.[1] == $picture) | .[0] | tonumber]
    | length > 15 and all(. as $n | any($runs[]; .step == "slate" and .from <= $n and $n <= .to))' \
    <(cat "$var/edge"/as-run-*.jsonl)
