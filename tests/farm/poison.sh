#!/usr/bin/env bash
# A file that crashes every decoder, or hangs it: three workers whose decoders end at a marked packet (tests/shim), go round
# in circles there, or wait for good. No worker ends; then its clip's fallback is on air, and nothing is lost: each frame
# that goes out is what the timeline says with the clip up to one number, and with its fallback from there on.
# Usage: poison.sh BUILD_FOLDER SOURCE_FOLDER SHIM CRASH|HANG|BLOCK [REDUNDANCY]
. "$2/tests/farm/lib.sh"
shim=$3 fault=$4 rate=25
marker=vistter-poison-packet

# 400 pictures; the marker is in the hundredth's packet alone, where decoders take no notice of it.
part() { # from-second file flags...
    local from=$1 file=$2
    shift 2
    ffmpeg -v error -f lavfi -i "testsrc2=s=160x90:r=$rate,trim=$from:$((from + 4)),setpts=PTS-STARTPTS" -pix_fmt yuv420p \
        -c:v libx264 -preset ultrafast -g 50 -bf 0 "$@" -f h264 "$file"
}
part 0 "$var/a.h264"
part 4 "$var/b.h264" -bsf:v "h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+$marker"
for n in 8 12; do part "$n" "$var/$n.h264"; done
cat "$var"/{a,b,8,12}.h264 >"$var/c.h264"
ffmpeg -v error -r "$rate" -i "$var/c.h264" -c copy "$var/poison.mp4"
timeline() { # asset
    cat <<JSON
{"schema":"vistter.timeline/1","name":"poison","format":{"width":320,"height":180,"rate":"$rate"},"duration":700,
 "assets":{"hello":"file:/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4","bad":"file:$1"},"tracks":[
 {"clips":[{"kind":"video","asset":"hello","start":0,"duration":700,"fit":"cover","loop":true}]},
 {"clips":[{"kind":"video","asset":"bad","start":200,"duration":400,"size":[160,90],"position":[90,60],
  "fallback":{"kind":"colour","colour":"#802020"}}]},
 {"clips":[{"kind":"pattern","start":0,"duration":700,"size":[80,45],"position":[250,150],
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]}]}
JSON
}
timeline "$var/poison.mp4" >"$var/poison.json"
timeline "$var/none.mp4" >"$var/fallback.json"

worker_begin() { (export LD_PRELOAD="$shim" "DECODER_$fault=$marker" && worker_start "$1"); }
is_poisoned() { vistter --json media list | jq -e '.[] | select(.name == "poison.mp4") | .poisoned'; }
is_whole() {
    vistter --json channel status poison | jq -e '.state == "on_air" and .next_plan_epoch == null and all(.groups[]; .protected)'
}
alarm_texts() { vistter --json status | jq -r '.. | objects | select(.code? == "asset_poisoned") | .text'; }
shows_alarm() { alarm_texts | grep -F "$words"; } # not while one plan follows another
last_mixed() { tail -n 1 "$var/mixed" | cut -d' ' -f1; }
mixed_since() { [ "$(last_mixed)" -ge "$1" ]; }

farm_prepare
pg_start
nginx_start
coordinator_start --cuts 1,2
for n in 1 2 3; do worker_begin "$n"; done
edge_start --hash-file "$var/mixed"
wait_until 30 "4 nodes did not join" nodes_are 4
on_air poison "$var/poison.json" --width 320 --height 180 --rate "$rate" --redundancy "${5:-warm}"
start=$(vistter --json channel status poison | jq .start_frame)
wait_until 30 "no file is poisoned" is_poisoned
case $fault in
CRASH) words="poison.mp4: has ended its decoder twice (at picture 100)" ;;
*) words="poison.mp4: has hung its decoder twice (at picture 100)" ;;
esac
wait_until 30 "no alarm says what the file does" shows_alarm
wait_until 30 "the channel is not whole again" is_whole
wait_until 30 "it did not go on" mixed_since $((start + 450))
vistter --json media list | jq -c '.[] | select(.name == "poison.mp4") | .crashes'
for n in 1 2 3; do check "worker$n goes on" alive "worker$n"; done
check "two or more poison" [ "$(vistter --json media list | jq '.[] | select(.name == "poison.mp4") | .crashes | length')" -ge 2 ]
check "listed" eval 'vistter media list | grep poison.mp4 | grep -q " poisoned "'
vistter channel stop poison >/dev/null
wait_until 30 "the channel did not stop" is_stopped poison
check "cleared" vistter media clear poison.mp4
check "no crash counts any more" eval '! is_poisoned >/dev/null'
if [ "$fault" != CRASH ]; then
    # When decoders began to hang, and when that was noticed.
    cat "$var"/log/worker?.log | awk 'match($0, /decoder_hangs since=[0-9.]*/) {
            print "the decoder hangs at", substr($0, RSTART + 20, 14) % 1000}
        /asset_suspect/ && match($0, /hung=1 at=[0-9.]*/) {print "it was ended at", substr($0, RSTART + 10, 14) % 1000}'
fi

for each in poison fallback; do
    "$build/coordinator/vistter" render "$var/$each.json" --quiet --rate "$rate" --cache "$var/render-cache" --start "$start" \
        --frames 0..460 --hash "$var/$each.hash" 2>/dev/null
done
awk -v start="$start" 'FILENAME == ARGV[1] {real[$1] = $2 " " $3; next}
    FILENAME == ARGV[2] {fallback[$1] = $2 " " $3; next}
    $1 >= start && $1 <= start + 450 {
        count++
        is = $2 " " $3
        if (is == real[$1] && (!from || real[$1] == fallback[$1])) next
        if (is == fallback[$1]) {if (!from) from = $1 - start; next}
        differ++
    }
    END {print count, differ + 0, from + 0}' "$var/poison.hash" "$var/fallback.hash" "$var/mixed" >"$var/compared"
read -r count differ from <"$var/compared"
echo "$count of 451 frames, $differ of them neither with the clip nor with its fallback; the fallback from frame $from on"
check "no frame is missing" [ "$count" = 451 ]
check "all are as the timeline says" [ "$differ" = 0 ]
check "the fallback comes no later than the picture that crashes" [ "$from" -ge 200 -a "$from" -le 300 ]
