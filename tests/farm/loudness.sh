#!/usr/bin/env bash
# Real clips of -37 to -12 LUFS, levelled by a timeline's "loudness": what FFmpeg's own meter says of what comes out.
# Usage: loudness.sh VISTTER_BINARY
set -u
vistter=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
samples=/usr/share/forensics-samples/original-files game=/usr/share/games/renpy/demo/game
failed=0 checks=0

fail() {
    failed=$((failed + 1))
    printf 'failed: %s\n' "$*" >&2
}

is() { # what actual wanted
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

near() { # what actual wanted tolerance
    checks=$((checks + 1))
    awk -v a="$2" -v b="$3" -v t="$4" 'BEGIN {d = a - b; exit !(a != "" && d <= t && d >= -t)}' ||
        fail "$1: $2 LUFS, not $3"
}

measure() { # file: integrated LUFS by FFmpeg, one channel on both sides
    local right=1
    [ "$(ffprobe -v error -select_streams a -show_entries stream=channels -of csv=p=0 "$1")" != 1 ] || right=0
    ffmpeg -nostats -hide_banner -i "$1" -map 0:a -af "pan=stereo|c0=c0|c1=c$right,ebur128" -f null - 2>&1 </dev/null |
        sed -n '/Summary/,$s/ *I: *\(.*\) LUFS/\1/p'
}

peak() { # file: dBTP
    ffmpeg -nostats -hide_banner -i "$1" -map 0:a -af "aresample=48000,ebur128=peak=true" -f null - 2>&1 </dev/null |
        sed -n '/Summary/,$s/ *Peak: *\(.*\) dBFS/\1/p'
}

frames_of() { # file: all of it, at 25 a second
    ffprobe -v error -show_entries format=duration -of csv=p=0 "$1" | awk '{print int($1 * 25) + 1}'
}

# timeline KIND FILE MORE SOUND
timeline() {
    printf '{"schema": "vistter.timeline/1", "format": {"width": 160, "height": 90, "rate": "25"}, %s "assets": {"a": "file:%s"},
        "tracks": [{"clips": [{"kind": "%s", "asset": "a", "start": 0, "duration": %d%s}]}]}' "$3" "$2" "$1" "$(frames_of "$2")" "${4:-}"
}

render() { # NAME: NAME.json to NAME.mkv and NAME.hash
    rm -f "$1.mkv"
    "$vistter" render --cache cache "$1.json" -o "$1.mkv" --hash "$1.hash" --strict --quiet 2>err </dev/null ||
        fail "render $1: $(cat err)"
}

for clip in "video $samples/movie1/VID_20191220_170832.mp4" "video $samples/movie2/movie-hello.mp4" \
    "audio $samples/audio1/debian.wav" "audio $samples/audio1/debian.ogg" "video $game/oa4_launch.webm" \
    "audio $game/renpyallstars.ogg"; do
    kind=${clip%% *} file=${clip#* }
    own=$(measure "$file") most=$(peak "$file")
    for target in -23 -16; do
        timeline "$kind" "$file" "\"loudness\": $target," >level.json
        render level
        got=$(measure level.mkv)
        if awk -v peak="$most" -v own="$own" -v target="$target" 'BEGIN {exit !(peak + target - own < -1.6)}'; then
            near "$(basename "$file") at $target" "$got" "$target" 0.5
        else # the limiter takes what would be above its ceiling; AAC adds to that
            near "$(basename "$file") at $target, limited" "$got" "$((target - 1))" 1.5
            near "its peak" "$(peak level.mkv)" -2 2
        fi
        printf '%s: %s LUFS, for %s: %s\n' "$(basename "$file")" "$own" "$target" "$got"
    done
    timeline "$kind" "$file" "" >plain.json
    render plain
    near "$(basename "$file") as it is" "$(measure plain.mkv)" "$own" 0.5
done

# The clip's own gain comes on top; a nested timeline is levelled by its own loudness only.
hello=$samples/movie2/movie-hello.mp4
timeline video "$hello" '"loudness": -20,' ', "sound": {"gain": -6}' >level.json
render level
near "6 dB below -20" "$(measure level.mkv)" -26 0.5
timeline video "$hello" '"loudness": -26,' >inner.json
printf '{"schema": "vistter.timeline/1", "format": {"width": 160, "height": 90, "rate": "25"}, "loudness": -16,
    "assets": {"a": "file:inner.json"}, "tracks": [{"clips": [{"kind": "timeline", "asset": "a", "start": 0, "duration": %d}]}]}' \
    "$(frames_of "$hello")" >level.json
render level
near "nested at -26" "$(measure level.mkv)" -26 0.5

# Too short to be measured, and facts that an older import has left: the bits are those of no loudness at all.
timeline audio "$game/punch.opus" "" >plain.json
timeline audio "$game/punch.opus" '"loudness": -23,' >level.json
render plain
render level
is "a blow" "$(sha256sum <level.hash)" "$(sha256sum <plain.hash)"
timeline video "$hello" "" >plain.json
timeline video "$hello" '"loudness": -10,' >level.json
render plain
render level
checks=$((checks + 1))
cmp -s plain.hash level.hash && fail "a loudness of -10 changes nothing"
facts=cache/$(sha256sum "$hello" | cut -d' ' -f1).json
jq -c 'del(.loudness)' "$facts" >older && mv older "$facts"
rm level.mkv
"$vistter" render --cache cache level.json -o level.mkv --hash level.hash 2>err </dev/null || fail "older facts: $(cat err)"
is "older facts" "$(sha256sum <level.hash)" "$(sha256sum <plain.hash)"
is "the warning of older facts" "$(grep -c 'warning: a: is not levelled' err)" 1

echo "$checks checks, $failed failed"
[ "$failed" = 0 ]
