#!/usr/bin/env bash
# The same bits, whatever the way: checksums of picture and sound of the torture timelines, rendered
# plainly in one piece, against every cut of the z-order, coded links, kernels of every level, threads,
# FFmpeg's own CPU levels, and starting in the middle. That the timelines use every property is what
# torture_covers.py checks.
# Usage: same_bits.sh VISTTER_BINARY SOURCE_FOLDER MAKE_LOG_BINARY [long]: without that not at all rates, by chance
set -eu
vistter=$1 source=$2 make_log=$3 long=${4-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tracks=$("$source/tests/farm/make-torture" "$work/media")
timeline=$work/media/torture.json
failed=0 passed=0

# render OUTPUT arguments...: hash lines to a file
render() {
    local out=$1
    shift
    "$vistter" render "$timeline" --quiet --cache "$work/cache" --hash "$out" "$@" 2>"$out.err" ||
        { cat "$out.err" >&2; echo "render $* failed" >&2; exit 1; }
}

# same NAME REFERENCE arguments...: renders and compares with the reference's lines for those frames
same() {
    local name=$1 reference=$2 first
    shift 2
    render "$work/out" "$@"
    first=$(head -n 1 "$work/out" | cut -d' ' -f1)
    if diff <(awk -v first="$first" -v count="$(wc -l <"$work/out")" '$1 >= first && $1 < first + count' "$reference") \
        "$work/out" >"$work/diff"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "differs: $name: $(head -n 2 "$work/diff" | tail -n 1)" >&2
    fi
}

rates="25 59.94"
[ "$long" ] || rates=$(shuf -n 1 -e $rates)
for rate in 29.97 $rates; do
    reference=$work/reference.$rate
    render "$reference" --rate "$rate" --plain --frames 0..48
    [ "$(wc -l <"$reference")" = 48 ]
    # A reference in which nothing moves would prove nothing.
    [ "$(cut -d' ' -f2 "$reference" | sort -u | wc -l)" -gt 30 ]
    [ "$(cut -d' ' -f3 "$reference" | sort -u | wc -l)" -gt 30 ]
    same "$rate reuse" "$reference" --rate "$rate" --frames 0..48
    same "$rate middle" "$reference" --rate "$rate" --frames 37..43
    same "$rate coded" "$reference" --rate "$rate" --coded --cuts 3,9 --frames 0..20
    cut=$((RANDOM % (tracks - 1) + 1))
    same "$rate cut at $cut" "$reference" --rate "$rate" --cuts "$cut" --frames 20..26
done
reference=$work/reference.29.97
for kernels in c avx2; do
    VISTTER_CPU=$kernels same "kernels: $kernels" "$reference" --rate 29.97 --frames 18..30
done
# Each cut on its own finds what "everywhere" may hide; a few of them in each run.
for cut in $(shuf -n 4 -i 1-$((tracks - 1))); do
    same "cut at $cut" "$reference" --rate 29.97 --cuts "$cut" --frames 22..27
done
same "cut everywhere" "$reference" --rate 29.97 --cuts "$(seq -s, $((tracks - 1)))" --coded --frames 16..26
for flags in 0 sse4.2; do
    VISTTER_AV_CPU=$flags same "FFmpeg CPU level $flags" "$reference" --rate 29.97 --frames 20..32
done
for threads in 1 4; do
    VISTTER_DECODER_THREADS=$threads same "$threads decoder threads" "$reference" --rate 29.97 --frames 0..40
done

# Every property on every kind of clip, over the whole of the short timeline.
timeline=$work/media/properties.json
tracks=$(jq '.tracks | length' "$timeline")
for rate in 30 59.94; do
    reference=$work/properties.$rate frames=64
    [ "$rate" = 30 ] || frames=124
    render "$reference" --rate "$rate" --plain --frames 0..$frames
    [ "$(cut -d' ' -f2 "$reference" | sort -u | wc -l)" -gt 50 ]
    [ "$(cut -d' ' -f3 "$reference" | sort -u | wc -l)" -gt 50 ]
    same "properties, $rate reuse" "$reference" --rate "$rate" --frames 0..$frames
done
reference=$work/properties.30
for from in 7 19 31 43 55; do
    same "properties, from $from" "$reference" --frames $from..$((from + 5))
done
same "properties, cut everywhere" "$reference" --cuts "$(seq -s, $((tracks - 1)))" --coded --frames 0..64
VISTTER_CPU=c same "properties, kernels in C" "$reference" --frames 0..64
VISTTER_CPU=avx2 same "properties, kernels in AVX2" "$reference" --frames 0..64
VISTTER_AV_CPU=0 same "properties, FFmpeg CPU level 0" "$reference" --frames 0..64
VISTTER_DECODER_THREADS=4 same "properties, 4 decoder threads" "$reference" --frames 0..64
# Levels that this processor lacks fall to the next lower one: that they were not tested is said.
for level in avx2 avx512; do
    used=$(VISTTER_CPU=$level "$vistter" render "$timeline" --cache "$work/cache" --hash /dev/null --frames 0..1 --json 2>/dev/null |
        sed 's/.*"kernels": "\([^"]*\)".*/\1/')
    [ "$used" = "$level" ] || echo "not tested: kernels in $level, which this processor lacks ($used)"
done

# Cameras, from before their sources are there until after one is gone.
timeline=$work/media/cameras.json
tracks=$(jq '.tracks | length' "$timeline")
mkdir "$work/logs"
for name in cam1 cam2; do begins=$("$make_log" "$work/media/$name.ts" "$work/logs" $name); done
echo '[{"at_frame": 15, "track": "live", "clip": "wide", "transition": {"kind": "dissolve", "duration": 20}},
       {"at_frame": 50, "track": "live", "clip": null}]' >"$work/takes"
logs=(--logs "$work/logs" --epoch $((begins + 1000000000)) --live "$work/takes")
for rate in 30 29.97; do
    reference=$work/cameras.$rate
    render "$reference" "${logs[@]}" --rate "$rate" --plain --frames 0..64
    [ "$(cut -d' ' -f2 "$reference" | sort -u | wc -l)" -gt 50 ]
    [ "$(cut -d' ' -f3 "$reference" | sort -u | wc -l)" -gt 50 ]
    same "cameras, $rate reuse" "$reference" "${logs[@]}" --rate "$rate" --frames 0..64
done
reference=$work/cameras.30
for from in 7 19 31 43 55; do
    same "cameras, from $from" "$reference" "${logs[@]}" --frames $from..$((from + 5))
done
same "cameras, cut everywhere" "$reference" "${logs[@]}" --cuts "$(seq -s, $((tracks - 1)))" --coded --frames 0..64
VISTTER_CPU=c same "cameras, kernels in C" "$reference" "${logs[@]}" --frames 0..64
VISTTER_AV_CPU=0 same "cameras, FFmpeg CPU level 0" "$reference" "${logs[@]}" --frames 0..64
# What a log does not know is refused, and so is a source without one.
refused() { # words arguments...
    local words=$1
    shift
    if "$vistter" render "$timeline" --quiet --cache "$work/cache" --hash /dev/null "$@" 2>"$work/err" ||
        ! grep -q "$words" "$work/err"; then
        failed=$((failed + 1))
        echo "not refused with '$words': $* $(cat "$work/err")" >&2
    fi
}
refused 'frame [0-9]*: the source.s .* has not come so far' "${logs[@]}" --frames 0..400
refused 'live source "cam1"' --frames 0..4
rm -r "$work/logs/cam2"
refused 'no log of the live source "cam2"' "${logs[@]}" --frames 0..4
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
