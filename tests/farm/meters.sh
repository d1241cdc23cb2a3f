#!/usr/bin/env bash
# Levels ten times a second on the WebSocket, against the standard and FFmpeg's ebur128 filter of what
# was recorded; and the alarms of what is silent, black, or stands still, which end with it.
# Usage: meters.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
export VISTTER_SILENT_SECONDS=3 VISTTER_BLACK_SECONDS=2 VISTTER_FROZEN_SECONDS=4
# The programme: two sines. Its lowest track alone, which stands still: one sine at -33 dBFS in both
# channels, so -33 LUFS (BS.1770: 1 kHz).
cat >"$var/tones.json" <<'JSON'
{"schema":"vistter.timeline/1","format":{"width":320,"height":180,"rate":"25"},"duration":250,"loop":true,"tracks":[
 {"clips":[{"kind":"pattern","start":0,"duration":250,"pattern":{"kind":"bars","tone":{"frequency":1000,"level":-33}}}]},
 {"clips":[{"kind":"pattern","start":0,"duration":250,"size":[160,90],
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]}]}
JSON
cat >"$var/nothing.json" <<'JSON'
{"schema":"vistter.timeline/1","format":{"width":320,"height":180,"rate":"25"},"duration":250,"loop":true,
 "background":"#000000","tracks":[
 {"clips":[{"kind":"pattern","start":0,"duration":250,"pattern":{"kind":"colour","colour":"#000000"}}]}]}
JSON
[ -d "$source/tests/api/node_modules" ] || npm ci --prefix "$source/tests/api" --silent
farm_of 1
vistter timeline put tones "$var/tones.json" >/dev/null
vistter timeline put nothing "$var/nothing.json" >/dev/null
vistter channel create main --width 320 --height 180 --rate 25 >/dev/null
vistter output add main --name clean --tracks 1 >/dev/null
vistter destination add main --name archive --kind recording >/dev/null
vistter channel start main tones >/dev/null
wait_until 60 "main did not come on air" is_live main

alarms() { # as "code output", sorted
    vistter --json node list | jq -r '.[].alarms[] | select(.code | test("^(sound|picture)_"))
        | .code + " " + (.text | if startswith("output ") then split(" ")[1] else "programme" end)' | sort
}
alarms_are() { [ "$(alarms)" = "$(printf '%s\n' "$@" | sort)" ]; }
wait_until 20 "what stands still was not noticed" alarms_are "picture_frozen clean"
check "what stands still is an alarm, what moves and sounds is none" alarms_are "picture_frozen clean"

node "$source/tests/farm/meters.mjs" "$server" 12 >"$var/meters.json"
measured() { # jq expression about $p, the programme, and $c, the clean feed
    jq -e '(.outputs | map({key: .output, value: .}) | from_entries) as $o | $o[""] as $p | $o.clean as $c | '"$1" \
        "$var/meters.json" >/dev/null
}
near() { echo "($1 | . >= $2 - $3 and . <= $2 + $3)"; } # value expected tolerance
check "ten values a second, none left out" \
    measured '[$p, $c] | all(.gaps == 0 and .count >= 110 and .missed == 0 and (.count / .seconds | . > 9 and . < 11))'
check "the state comes as before" measured '.statuses >= 10'
for value in momentary short_term integrated; do
    check "the clean feed's $value loudness is -33 LUFS" \
        measured "$(near "\$c.levels.$value.low" -33 0.1) and $(near "\$c.levels.$value.high" -33 0.1)"
done
check "its peaks are -33 dBFS" measured "$(near '$c.levels.peak.low' -33 0.1) and $(near '$c.levels.peak.high' -33 0.1)"
check "its true peaks are -33 dBTP" \
    measured "$(near '$c.levels.true_peak.low' -33 0.3) and $(near '$c.levels.true_peak.high' -33 0.3)"

# Another timeline: nothing to see, nothing to hear. Then the first again.
show() { curl -fsS -X PUT -H 'Content-Type: application/json' -d "{\"timeline\":\"$1\"}" \
    "$server/api/v1/channels/main/timeline" >/dev/null; }
recorded=$(jq '.outputs[] | select(.output == "") | .levels.integrated.newest' "$var/meters.json")
peaked=$(jq '.outputs[] | select(.output == "") | .levels.true_peak.high' "$var/meters.json")
show nothing
wait_until 40 "black and silence were not noticed" alarms_are "picture_black programme" "picture_black clean" \
    "sound_silent programme" "sound_silent clean"
check "black is not said to be frozen as well" alarms_are "picture_black programme" "picture_black clean" \
    "sound_silent programme" "sound_silent clean"
node "$source/tests/farm/meters.mjs" "$server" 1 >"$var/meters.json"
check "silence has no level" measured '[$p, $c] | all(.levels.momentary.newest == null and .levels.peak.newest == 0)'
show tones
wait_until 40 "the alarms did not end" alarms_are "picture_frozen clean"
check "the alarms end with what they are about" alarms_are "picture_frozen clean"
check "nothing was concealed, late or skipped" [ "$(counter main concealed)$(counter main late)$(counter main skipped)" = 000 ]

# The recording is what went out; all of it up to the silence, which does not count, is tones.
vistter channel stop main >/dev/null
wait_until 30 "main did not stop" is_stopped main
wait_until 30 "the recording was not sealed" compgen -G "$var/recordings/*.sha256" >/dev/null
ffmpeg -nostdin -hide_banner -i "$(compgen -G "$var/recordings/*.mkv" | head -n 1)" -vn -t 10 \
    -af ebur128=peak=true -f null - 2>"$var/ebur128"
summary() { awk -v name="$1" '/Summary:/ {value = ""} $1 == name && NF == 3 {value = $2} END {print value}' "$var/ebur128"; }
loudness=$(summary I:) peak=$(summary Peak:)
echo "programme: $recorded LUFS and $peaked dBTP measured, $loudness and $peak by FFmpeg in the recording" >&2
check "FFmpeg hears as much in the recording" jq -en "$recorded - $loudness | . > -0.2 and . < 0.2"
check "and as high" jq -en "$peaked - $peak | . > -0.5 and . < 0.5"
