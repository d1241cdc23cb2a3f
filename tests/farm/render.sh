#!/usr/bin/env bash
# `vistter render` as a person uses it: what the file that it writes holds, according to ffprobe, and
# what it says and returns for material that is missing, broken or damaged.
# Usage: render.sh VISTTER_BINARY
set -u
vistter=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0 checks=0

fail() {
    failed=$((failed + 1))
    printf 'failed: %s\n' "$*" >&2
}

# expect STATUS ARGUMENT...: renders; standard output and error lie in out and err.
expect() {
    local wanted=$1 status=0
    shift
    checks=$((checks + 1))
    "$vistter" render --cache "$work/cache" "$@" >out 2>err </dev/null || status=$?
    [ "$status" = "$wanted" ] || fail "render $*: exit $status, not $wanted: $(cat err)"
}

says() { # text: once, on standard error
    checks=$((checks + 1))
    [ "$(grep -cF -- "$1" err)" = 1 ] || fail "not once '$1' in: $(cat err)"
}

is() { # what actual wanted
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

# timeline NAME RATE MORE CLIPS: one track a clip
timeline() {
    local clips=("${@:4}")
    printf '{"schema": "vistter.timeline/1", "format": {"width": 320, "height": 180, "rate": "%s"}, %s "tracks": [' \
        "$2" "$3"
    printf '%s' "{\"clips\": [${clips[0]}]}"
    printf ', {"clips": [%s]}' "${clips[@]:1}"
    printf ']}\n'
} >"$1.json"

probe() { # file stream entries: values, one a line
    ffprobe -v error -select_streams "$2" -show_entries "$3" -of default=noprint_wrappers=1:nokey=1 "$1"
}

# -- what is written. 100 frames at 29.97 are 100 * 1001 / 30000 s.

pattern='{"kind": "pattern", "start": 0, "duration": 100, "pattern": {"kind": "bars", "tone": {"level": -18}}}'
timeline plain 29.97 "" "$pattern"
for container in mp4 mkv mov; do
    expect 0 plain.json -o "plain.$container" --hash plain.hash
    says "100 frames in"
    is "$container: frames" "$(ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames \
        -of csv=p=0 plain.$container)" 100
    is "$container: size" "$(probe plain.$container v stream=width,height | paste -sd,)" 320,180
    is "$container: rates" "$(probe plain.$container v stream=r_frame_rate,avg_frame_rate | paste -sd,)" \
        30000/1001,30000/1001
    is "$container: colours" "$(probe plain.$container v stream=color_range,color_space,color_transfer,color_primaries |
        paste -sd,)" tv,bt709,bt709,bt709
    is "$container: sound" "$(probe plain.$container a stream=codec_name,sample_rate,channels | paste -sd,)" aac,48000,2
    [ "$container" = mkv ] ||
        is "$container: picture ticks" "$(probe plain.$container v stream=time_base,duration_ts | paste -sd,)" 1/30000,100100
done
is "lines of checksums" "$(wc -l <plain.hash)" 100
# The tone of -18 dBFS comes out as loud: 20 log10 of the sine's mean square root is 3.01 less.
is "level of the tone" "$(ffmpeg -v info -i plain.mp4 -af volumedetect -f null - 2>&1 | sed -n 's/.*mean_volume: -\([0-9]*\)\..*/\1/p')" 21
# Frames with their own times, none after another by more or less than a frame.
is "distances of frames" "$(probe plain.mp4 v packet=pts | sort -n | awk 'NR > 1 {print $1 - last} {last = $1}' | sort -u)" 1001
expect 0 plain.json --hash plain.25 --rate 25
is "frames at 25" "$(wc -l <plain.25)" 84 # 83.4 begin before the end
expect 1 plain.json --hash /dev/null --frames 50..101
says "goes past the end: the timeline has 100 frames"
expect 0 --help
is "-o in the help" "$(grep -c -- '-o for short' out)" 1

# -- material that is not all right

film() { # name seconds more
    ffmpeg -v error -f lavfi -i testsrc2=s=320x180:r=25:d="$2" -c:v libx264 -movflags +faststart "$1" </dev/null
}
film film.mp4 4
ffmpeg -v error -f lavfi -i testsrc2=s=320x180 -frames:v 1 still.jpg </dev/null
head -c $(($(stat -c %s film.mp4) / 2)) film.mp4 >half.mp4
head -c $(($(stat -c %s still.jpg) / 2)) still.jpg >half.jpg
clip() { # kind asset more
    printf '{"kind": "%s", "asset": "%s", "start": 0, "duration": 100%s}' "$1" "$2" "${3:-}"
}
assets='"assets": {"film": "file:film.mp4", "half": "file:half.mp4", "photo": "file:half.jpg", "gone": "file:gone.mp4",
    "voice": "file:voice.wav", "still": "file:still.jpg", "list": "file:list.json"},'
red=', "fallback": {"kind": "colour", "colour": "#ff0000"}'
printf '{"schema": "vistter.sequence/1", "rate": "25", "pictures": ["file:still.jpg", "file:half.jpg", "file:still.jpg"]}' >list.json

timeline good 25 "$assets" "$(clip video film)"
expect 0 good.json --hash good.hash --strict
says "0 with a fallback"
timeline photo 25 "$assets" "$(clip image photo "$red")" "$(clip video film ', "size": [32, 18]')"
expect 0 photo.json --hash photo.hash
says "warning: tracks[0].clips[0]: asset \"photo\": $work/half.jpg: the picture is damaged or cut short"
says "100 with a fallback"
says "the first is frame 0: tracks[0].clips[0]: asset \"photo\""
expect 1 photo.json --hash /dev/null --strict
is "frames in JSON" "$("$vistter" render --cache cache photo.json --hash /dev/null --json 2>/dev/null | jq .frames_with_fallback)" 100
# The fallback is what is seen, not what the decoder made of half a file: red is Y' 63, Cb 102, Cr 240.
expect 0 photo.json -o photo.mkv --frames 0..1 --crf 0
is "red" "$(ffmpeg -v error -i photo.mkv -vf crop=16:16:300:160 -f rawvideo - </dev/null | od -An -tu1 -v |
    tr -s ' ' '\n' | grep . | sort -n | uniq | paste -sd,)" 63,102,240
timeline half 25 "$assets" "$(clip video half "$red")"
expect 0 half.json --hash half.hash
says "warning: half: is damaged or cut short in"
frames=$(sed -n 's/.*, \([0-9]*\) with a fallback.*/\1/p' err)
checks=$((checks + 1))
[ "$frames" -ge 30 ] && [ "$frames" -le 70 ] || fail "$frames of 100 frames show a fallback for half a film"
# Where the film breaks off, pictures between others are missing: those before stand a little longer.
distinct=$(cut -d' ' -f2 half.hash | sort -u | wc -l) whole=$((100 - frames + 1))
checks=$((checks + 1))
[ "$distinct" -le "$whole" ] && [ "$distinct" -ge $((whole - 3)) ] || fail "$distinct pictures, not $whole"
diff <(head -n 20 good.hash) <(head -n 20 half.hash) >/dev/null || fail "the first half is not that of the whole film"
timeline lists 25 "$assets" "$(clip sequence list "$red")"
expect 0 lists.json --hash /dev/null --frames 0..3
says "1 with a fallback"
says "the first is frame 1: tracks[0].clips[0]: asset \"list\": $work/half.jpg: the picture is damaged"
timeline gone 25 "$assets" "$(clip video gone)" "$(clip audio voice)" "$(clip audio still)"
expect 0 gone.json --hash /dev/null
says "warning: tracks[0].clips[0]: asset \"gone\": $work/gone.mp4: cannot be opened"
says "warning: tracks[1].clips[0]: asset \"voice\": $work/voice.wav: cannot be opened"
timeline silent 25 "$assets" "$(clip audio still)"
expect 0 silent.json --hash /dev/null
says "the first is frame 0: tracks[0].clips[0]: asset \"still\": has no sound"

# -- documents

: >empty.json
expect 1 empty.json --hash /dev/null
says "empty.json: is empty"
head -c 100000000 /dev/zero | tr '\0' ' ' >large.json
expect 1 large.json --hash /dev/null
says "has 100000000 bytes; a timeline may have 33554432"
timeline zero 25 "" '{"kind": "pattern", "start": 0, "duration": 0, "pattern": {"kind": "bars"}}'
expect 1 zero.json --hash /dev/null
says "zero.json: tracks[0].clips[0].duration: is 0; must be 1 to 1000000000"
text='{"kind": "text", "start": 0, "duration": 5, "text": {"text": "a", "font": "Futura Bold"}}'
timeline font 25 '"fonts": ["file:gone.ttf"],' "$text"
expect 1 font.json --hash /dev/null
says 'fonts[0]: "file:gone.ttf": No such file'
timeline family 25 '"fonts": ["file:/usr/share/fonts/truetype/noto/NotoSans-Bold.ttf"],' "$text"
expect 0 family.json --hash /dev/null
says 'have no family "Futura", so another is shown; they offer: Noto Sans'

# -- switches for tests

for switch in VISTTER_CPU=sse9 VISTTER_AV_CPU=sse99 VISTTER_DECODER_THREADS=0 VISTTER_DECODER_THREADS=many; do
    export "${switch?}"
    expect 2 good.json --hash /dev/null
    says "vistter render: ${switch%%=*}: is '${switch#*=}'"
    unset "${switch%%=*}"
done

echo "$checks checks, $failed failed"
[ "$failed" = 0 ]
