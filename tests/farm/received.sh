#!/usr/bin/env bash
# Received by others: ffmpeg and ffprobe read the channel back from nginx-rtmp. No decode error, rising
# time stamps, constant frame rate and bit rate, BT.709, closed GOPs of two seconds at n mod G = 0, flash
# and beep within 5 ms; the recording of an edge that was killed together with its recorder plays.
# Usage: received.sh BUILD_FOLDER SOURCE_FOLDER [SECONDS]
. "$2/tests/farm/lib.sh"
seconds=${3:-40}

cat >"$var/flash.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"flash","format":{"width":640,"height":360,"rate":"30"},"duration":300,
 "loop":true,"tracks":[{"clips":[{"kind":"pattern","start":0,"duration":300,"pattern":{"kind":"flash"}}]},
 {"clips":[{"kind":"pattern","start":0,"duration":300,"size":[320,20],"position":[320,350],
  "pattern":{"kind":"counter"}}]}]}
JSON
key=canary-$RANDOM$RANDOM
farm_of 2
printf %s "$key" >"$var/keys/stream.key"
vistter timeline put flash "$var/flash.json" >/dev/null
vistter channel create flash --width 640 --height 360 --rate 30 >/dev/null
vistter destination add flash --name platform --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" \
    --key-file "$var/keys/stream.key" >/dev/null
vistter destination add flash --name archive --kind recording >/dev/null
vistter channel start flash flash >/dev/null
wait_until 60 "flash did not come on air" is_live flash
is_published() { [ "$(vistter --json destination list flash | jq -r '.[] | select(.name == "platform") | .state')" = live ]; }
wait_until 30 "the stream did not reach nginx" is_published

ffmpeg -v error -nostdin -y -rw_timeout 20000000 -i "rtmp://127.0.0.1:$rtmp_port/live/$key" -t "$seconds" \
    -c copy -f flv "$var/received.flv" 2>"$var/receive.err" || true
check "ffmpeg received without an error" [ ! -s "$var/receive.err" ]
head -n 3 "$var/receive.err" >&2
ffmpeg -v error -nostdin -i "$var/received.flv" -f null - 2>"$var/decode.err" || true
check "no decode error" [ ! -s "$var/decode.err" ]

# Time stamps of the container are whole milliseconds: 33 or 34 at 30 frames a second.
stamps() { ffprobe -v error -select_streams "$2" -show_entries packet=pts_time,dts_time -of csv=p=0 "$1"; }
rising() { stamps "$1" "$2" | awk -F, 'NR > 1 && $2 <= last {bad++} {last = $2} END {exit bad > 0 || NR < 2}'; }
# The last pictures are left out: the copy ends in decoding order, in the middle of a group.
constant() {
    stamps "$1" v | cut -d, -f1 | sort -n | head -n -8 |
        awk 'NR > 1 {d = $1 - last; if (d < 0.0325 || d > 0.0345) bad++} {last = $1} END {exit bad > 0 || NR < 2}'
}
check "video time stamps rise" rising "$var/received.flv" v
check "audio time stamps rise" rising "$var/received.flv" a
check "constant frame rate" constant "$var/received.flv"
colours=$(ffprobe -v error -select_streams v -show_entries \
    stream=pix_fmt,color_range,color_space,color_transfer,color_primaries -of csv=p=0 "$var/received.flv")
check "BT.709, limited range ($colours)" [ "$colours" = yuv420p,tv,bt709,bt709,bt709 ]
traced() { ffmpeg -v info -nostdin -i "$1" -map 0:v -c copy -bsf:v trace_headers -f null - 2>&1; }
gops_hold() { traced "$1" | python3 "$source/tests/farm/check_stream.py" 60 30 ${2:-} >&2; }
check "GOPs and bit rate are what the stream declares" gops_hold "$var/received.flv"
frames=$(stamps "$var/received.flv" v | wc -l)
check "as many frames as $seconds seconds have ($frames)" [ "$frames" -ge $((seconds * 30 - 90)) ]

# The picture is white in the first frame of each second, and 20 ms of tone start with it.
ffprobe -v error -f lavfi -i "movie=$var/received.flv,crop=640:200:0:0,signalstats" \
    -show_entries frame=pts_time:frame_tags=lavfi.signalstats.YAVG -of csv=p=0 |
    awk -F, '{white = $2 > 128} white && !before {print $1} {before = white}' >"$var/flashes"
ffmpeg -v error -nostdin -i "$var/received.flv" -map 0:a -af aresample=async=0 -f s16le -ac 1 -ar 48000 "$var/sound.raw"
first_audio=$(stamps "$var/received.flv" a | head -n 1 | cut -d, -f1)
python3 - "$var/sound.raw" "$first_audio" "$var/flashes" <<'PY' >"$var/sync" || true
import array, sys
samples = array.array("h", open(sys.argv[1], "rb").read())
start = float(sys.argv[2])
flashes = [float(x) for x in open(sys.argv[3]) if x.strip()]
beeps, quiet = [], 10000
for i, s in enumerate(samples):
    if abs(s) > 1600:
        if quiet > 4800:
            beeps.append(start + i / 48000)
        quiet = 0
    else:
        quiet += 1
pairs = [(f, min(beeps, key=lambda b: abs(b - f))) for f in flashes if beeps]
offsets = [b - f for f, b in pairs if abs(b - f) < 0.5]
print(len(offsets), min(offsets, default=9), max(offsets, default=9))
PY
read -r count least most <"$var/sync"
echo "flash and beep: $count pairs, offsets $least to $most s" >&2
check "flash and beep in every second" [ "$count" -ge $((seconds - 5)) ]
check "flash and beep within 5 ms" awk -v a="$least" -v b="$most" 'BEGIN {exit !(a >= -0.005 && b <= 0.005)}'

check "nothing concealed" [ "$(counter flash concealed)" = 0 ]
check "the stream key is in no log" [ -z "$(grep -l "$key" "$var"/log/*.log)" ]
check "nor in an answer" [ -z "$(vistter --json status | grep "$key")" ]

# An edge and all its children killed at one blow, the recorder in the middle of a segment: what it had
# recorded plays, and ends where what another child had sent to the platform ends.
pictures_after_key() { # of the last GOP
    ffprobe -v error -select_streams v -show_entries packet=flags -of csv=p=0 "$1" |
        awk '/K/ {n = 0} {n++} END {print n + 0}'
}
ffmpeg -v error -nostdin -y -rw_timeout 20000000 -i "rtmp://127.0.0.1:$rtmp_port/live/$key" -c copy -f flv "$var/last.flv" \
    2>/dev/null &
receiver=$!
has_gop() { [ "$(pictures_after_key "$var/last.flv")" -gt 20 ]; }
wait_until 30 "the second receiver got nothing" has_gop
edge=$(cat "$run/edge.pid")
children=$(pgrep -P "$edge" | tr '\n' ' ')
check "the edge has children for platform, recording and preview ($children)" [ "$(wc -w <<<"$children")" = 3 ]
# shellcheck disable=SC2086
kill -STOP $children # at one blow: none is to see that the edge is gone before it is gone itself
# shellcheck disable=SC2086
kill -KILL "$edge" $children
timeout 10 tail --pid="$edge" -f /dev/null || true
rm -f "$run/edge.pid"
wait "$receiver" || true
recording=$(find "$var/recordings" -name '*.mkv.part' -size +0)
check "the recorder had no time to seal its file" [ -n "$recording" ]
first=$(sed 's/^flash-\([0-9]*\)-.*/\1/' <<<"${recording##*/}")
check "it decodes without an error" ffmpeg -v error -xerror -nostdin -i "$recording" -map 0:v -f framemd5 -y "$var/decoded"
check "with sound" ffmpeg -v error -xerror -nostdin -i "$recording" -map 0:a -f null -
decoded=$(grep -vc '^#' "$var/decoded")
check "every picture of it ($decoded)" [ "$decoded" = "$(stamps "$recording" v | wc -l)" ]
check "from the start to the end ($decoded)" [ "$decoded" -ge $((seconds * 30)) ]
check "its GOPs, which start at n mod G = 0" gops_hold "$recording" "$first"
check "without a gap" constant "$recording"
recorded=$(pictures_after_key "$recording") sent=$(pictures_after_key "$var/last.flv")
difference=$(((sent - recorded + 90) % 60 - 30)) # one of them may have come to the next GOP
check "within two pictures of what was sent ($recorded of $sent in the last GOP)" \
    [ "$difference" -ge -2 ] && [ "$difference" -le 2 ]
