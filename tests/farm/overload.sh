#!/usr/bin/env bash
# An edge whose processor does not keep up. First it has too little for a picture that only the preview shows: that
# rests, and the recording loses nothing. Then too little for the recording as well: samples and hot copies are given up
# too, pictures are left out, and the sound is whole. At each time every frame is mixed once, in time, the right one. It
# says so, and once there is time again all comes back and it says nothing any more.
# Usage: overload.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
[ "$(id -u)" = 0 ] || { echo "control groups need root" >&2; trap - EXIT; exit 77; }
clean_up() { groups_remove; }
farm_of 2
# Cheap to render, and not so cheap to encode.
cat >"$var/busy.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"busy","format":{"width":1280,"height":720,"rate":"25"},"duration":250,
 "loop":true,"tracks":[{"clips":[{"kind":"pattern","start":0,"duration":250,"pattern":{"kind":"grid"},
 "position":{"keyframes":[{"at":0,"value":[0,0]},{"at":250,"value":[150,90]}]}}]},
 {"clips":[{"kind":"pattern","start":0,"duration":250,"size":[320,180],
 "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]}]}
JSON
vistter timeline put busy "$var/busy.json" >/dev/null
vistter channel create busy --width 1280 --height 720 --rate 25 --edges 1 --redundancy hot >/dev/null
vistter output add busy --name small --width 160 --height 90 >/dev/null
vistter destination add busy --name archive --kind recording --output small >/dev/null
vistter channel start busy busy >/dev/null
wait_until 60 "busy did not come on air" is_live busy

edge_now() { vistter --json node list | jq -r '.[] | select(.role == "edge") | '"$1"; }
is_given_up() { [ "$(edge_now .overload)" = "$1" ]; }
alarm() { edge_now '.alarms[] | select(.code == "overloaded") | .text'; }
purity() { vistter --json channel status busy | jq -r ".purity.$1"; }
has_copies() { [ "$(purity copies)" -gt "$1" ]; }
wait_until 30 "no copies come" has_copies 50

curl -sN "$(vistter --json channel status busy | jq -r .preview_url)" >"$var/preview" &
viewer=$!
shown() { stat -c %s "$var/preview"; }
shows_more() { [ "$(shown)" -gt "$1" ]; }
wait_until 20 "the preview shows nothing" shows_more 50000

# What the large picture, the small one, and all else that is not urgent take of a processor, in hundredths of seconds
# since the start. Urgent ones are left out: a kernel may refuse to put them into a group.
edge=$(cat "$run/edge.pid")
taken() {
    cat /proc/"$edge"/task/*/stat | sed 's/^[0-9]* (\([^)]*\)) /\1 /' | awk '$40 == 0 {
        kind = $1 ~ /^encode-1-/ ? "large" : $1 ~ /^encode-2-/ ? "small" : "rest"; sum[kind] += $13 + $14}
        END {print sum["large"] + 0, sum["small"] + 0, sum["rest"] + 0}'
}
ration -1
if [ -e "$(group_of cpu)/tasks" ]; then
    for task in /proc/"$edge"/task/*; do echo "${task##*/}" 2>/dev/null >"$(group_of cpu)/tasks" || true; done
else
    echo "$edge" >"$(group_of cpu)/cgroup.procs"
fi
wait_until 60 "it does not keep up before" is_given_up ""
read -r large small rest < <(taken)
began=${EPOCHREALTIME/./}
pause 3
read -r large2 small2 rest2 < <(taken)
share() { echo $((($1 - $2) * 10000 * 100000 / (${EPOCHREALTIME/./} - began))); } # microseconds of 100 ms
large=$(share "$large2" "$large") small=$(share "$small2" "$small") rest=$(share "$rest2" "$rest")
echo "of 100 ms the large picture takes $((large / 1000)) ms, the small one $((small / 1000)), all else $((rest / 1000))" >&2
check "nothing is given up before" is_given_up ""
lines=$(wc -l <"$var/log/edge.log")

ration $((large / 2 + small + rest * 4 / 3))
wait_until 30 "the edge does not give up the preview" is_given_up previews
check "it says so" grep -q "encoding.*given up so far: previews\. " <(alarm)
pause 0.5 # what was on its way
before=$(shown)
pause 1
check "the preview pauses ($(($(shown) - before)) bytes more)" [ "$(shown)" = "$before" ]
whole_to=$(counter busy cursor)

ration $((small / 3 + rest * 5 / 4))
wait_until 30 "the edge does not give up copies" is_given_up copies
given_up=$(alarm)
check "it says all ($given_up)" grep -q "previews, samples, copies" <<<"$given_up"
pause 0.5
sampled=$(purity sampled) copies=$(purity copies) frames=$(counter busy frames)
pause 2
check "nothing is compared" [ "$(purity sampled)" = "$sampled" ]
check "nothing comes twice" [ "$(purity copies)" = "$copies" ]
check "all else goes on" [ "$(counter busy frames)" -gt $((frames + 25)) ]
ration -1
wait_until 60 "not all comes back" is_given_up ""
check "no alarm is left" [ -z "$(alarm)" ]
wait_until 10 "no copies come back" has_copies "$copies"
wait_until 10 "the preview does not come back" shows_more "$(($(shown) + 10000))"
order=$(tail -n +$((lines + 1)) "$var/log/edge.log" | sed -n 's/.* overloaded gives_up=\([a-z]*\).*/-\1/p; s/.* takes_up what=\([a-z]*\).*/+\1/p' | tr '\n' ' ')
check "one after the other, and back ($order)" [ "$order" = "-previews -samples -copies +copies +samples +previews " ]
for name in late concealed skipped; do check "no frame $name" [ "$(counter busy $name)" = 0 ]; done
check "no copy is another" [ "$(purity mismatched)" = 0 ]

start=$(vistter --json channel status busy | jq .start_frame)
kill $viewer || true
vistter channel stop busy >/dev/null
wait_until 30 "the channel did not stop" is_stopped busy
end=$(tail -n 1 "$var/mixed" | cut -d' ' -f1)
"$build/coordinator/vistter" render "$var/busy.json" --quiet --rate 25 --width 1280 --height 720 --cache "$var/render-cache" \
    --start "$start" --frames "$(($(head -n 1 "$var/mixed" | cut -d' ' -f1) - start))..$((end + 1 - start))" --hash "$var/offline"
check "every frame is mixed once, the right one ($(wc -l <"$var/mixed"))" cmp "$var/mixed" "$var/offline"

# The recording: every picture as long as the preview was all that had to go, and every block of sound.
recording=$(ls "$var"/recordings/*.mkv)
first=$(sed 's/^busy-small-\([0-9]*\)-.*/\1/' <<<"${recording##*/}")
stamps() { ffprobe -v error -select_streams "$1" -show_entries packet=pts_time -of csv=p=0 "$recording" | tr -d , | sort -n; }
pictures=$(stamps v | awk -v until="$((whole_to - first))" 'NR == 1 {base = $1} ($1 - base) * 25 < until - 0.5' | wc -l)
check "no picture is missing in the first $((whole_to - first)) ($pictures)" [ "$pictures" = $((whole_to - first)) ]
check "the second time some are ($(stamps v | wc -l))" [ "$(stamps v | wc -l)" -lt $((end + 1 - first)) ]
holes=$(stamps a | awk 'NR > 1 && $1 - last > 1024 / 48000 + 0.0015 {holes++} {last = $1} END {print holes + 0, NR}')
check "no sound is missing (holes and blocks: $holes)" [ "${holes% *}" = 0 ] && [ "${holes#* }" -gt 500 ]
