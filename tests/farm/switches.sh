#!/usr/bin/env bash
# Four cameras of 720p, two by SRT (one of them through srt-live-transmit), two by RTMP, switched live by a script, with cuts,
# transitions and an overlay: by the numbers in the pictures that an RTMP server sends on, each take is at its frame, every
# frame is there once, and sound and picture of each camera are within half a frame of each other.
# Usage: switches.sh BUILD_FOLDER SOURCE_FOLDER [TAKES]
. "$2/tests/farm/lib.sh"
count=${3:-200}
command -v srt-live-transmit >/dev/null || exit 77
port=$((port + 10)) # those of workers and edges follow on VISTTER_FRAMES
next_port VISTTER_CAMERA1 udp
next_port VISTTER_CAMERA2 udp
next_port VISTTER_PLAIN2 udp

# So long that none begins anew: picture and sound of a copy would not be of one length.
seconds=$((count * 7 / 10 + 60))
for n in 1 2; do "$source/tests/farm/make_camera.py" $n $seconds "$var/camera$n.ts" -f mpegts & done
wait
for n in 3 4; do "$source/tests/farm/make_camera.py" $n $seconds "$var/camera$n.flv" -f flv & done
wait
# Again and again, as an encoder calls again when nobody listens yet.
camera() { # number file format address
    start "camera$1" bash -c 'trap "kill \$!; exit" TERM; while :; do ffmpeg -v error -nostdin -re -i "$1" -c copy -f "$2" "$3" &
        wait $!; sleep 0.3 & wait $!; done' camera "${@:2}"
}
before_stop() { for each in camera1 camera2 camera3 camera4 transmit receiver; do [ ! -e "$run/$each.pid" ] || stop $each; done; }
source_is() { vistter --json source show "$1" | jq -e --arg state "$2" '.status.state == $state' >/dev/null; }

clips= comma=
for n in 1 2 3 4; do
    clips="$clips$comma{\"id\":\"c$n\",\"kind\":\"camera\",\"source\":\"cam$n\",\"size\":[640,330],\"position\":[320,195]}" comma=,
done
cat >"$var/show.json" <<JSON
{"schema":"vistter.timeline/1","format":{"width":640,"height":360,"rate":"25"},"duration":1000000,"tracks":[
 {"clips":[{"kind":"pattern","start":0,"duration":1000000,"pattern":{"kind":"counter"}}]},
 {"name":"programme","live":true,"clips":[$clips]},
 {"name":"corner","live":true,"clips":[{"id":"logo","kind":"shape","size":[60,40],"position":[600,60],"fade_in":5,
   "shape":{"kind":"ellipse","size":[60,40],"fill":"#ff0000"}}]}]}
JSON
farm_of 2
for n in 1 2; do
    address=VISTTER_CAMERA$n
    vistter source put cam$n --srt-listen "127.0.0.1:${!address}" --worker worker1 >/dev/null
done
for n in 3 4; do vistter source put cam$n --rtmp --worker worker1 --key-file "$var/cam$n.key" >/dev/null; done
camera 1 "$var/camera1.ts" mpegts "srt://127.0.0.1:$VISTTER_CAMERA1?pkt_size=1316&streamid=#!::r=cam1,m=publish"
start transmit srt-live-transmit "udp://127.0.0.1:$VISTTER_PLAIN2" "srt://127.0.0.1:$VISTTER_CAMERA2?mode=caller&streamid=#!::r=cam2,m=publish" -q
camera 2 "$var/camera2.ts" mpegts "udp://127.0.0.1:$VISTTER_PLAIN2?pkt_size=1316"
for n in 3 4; do camera $n "$var/camera$n.flv" flv "rtmp://127.0.0.1:$((frame_port + 1))/live/$(<"$var/cam$n.key")"; done
for n in 1 2 3 4; do wait_until 30 "cam$n is not live" source_is cam$n live; done

printf %s show >"$var/keys/stream.key"
vistter timeline put show "$var/show.json" >/dev/null
vistter channel create show --width 640 --height 360 --rate 25 >/dev/null
vistter destination add show --name platform --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" --key-file "$var/keys/stream.key" >/dev/null
vistter channel start show show >/dev/null
wait_until 60 "show did not come on air" is_live show
is_published() { vistter --json destination list show | jq -e '.[0].state == "live"' >/dev/null; }
wait_until 30 "the stream did not reach nginx" is_published
start_frame=$(vistter --json channel status show | jq .start_frame)
troubles() { vistter --json channel status show | jq -c '[.counters | .late, .concealed]'; }

latest=0
take() { # track clip transition frames
    local flags=() at
    [ -z "$3" ] || flags=(--transition "$3" --frames "$4")
    at=$(vistter --json channel take show "$1" ${2:+"$2"} ${flags+"${flags[@]}"} | jq '.at_frame // empty')
    [ -n "$at" ] || return 1
    [ "$1" != programme ] || echo "{\"at\":$at,\"camera\":${2#c},\"frames\":$4}" >>"$var/takes"
    latest=$at
}
mixed_to() { [ "$(tail -n 1 "$var/mixed" | cut -d' ' -f1)" -ge "$1" ]; }
check "the first camera" take programme c1 '' 0
wait_until 30 "not on air" mixed_to $((latest + 25))
start receiver ffmpeg -v error -nostdin -y -rw_timeout 20000000 -i "rtmp://127.0.0.1:$rtmp_port/live/show" -c copy -f flv "$var/received.flv"
calm=$(troubles) refused=0 now=1
for i in $(seq "$count"); do
    now=$(((now + RANDOM % 3) % 4 + 1)) way='' frames=0
    [ $((i % 8)) != 0 ] || now=$((i / 8 % 4 + 1))
    if [ $((i % 4)) = 0 ]; then way=dissolve frames=8; fi
    take programme c$now "$way" $frames || refused=$((refused + 1))
    [ $((i % 10)) != 0 ] || take corner "$([ $((i % 20)) = 0 ] || echo logo)" '' 0 || refused=$((refused + 1))
    # Every eighth stays, so that flashes and beeps are seen undisturbed.
    if [ $((i % 8)) = 0 ]; then pause 2.5; else pause 0.3; fi
done
wait_until 30 "the last take is not on air" mixed_to $((latest + 100))
check "no take was refused" [ "$refused" = 0 ]
check "nothing late or concealed ($calm, $(troubles))" [ "$(troubles)" = "$calm" ]
pause 2
stop receiver INT
check "each at its frame" nice -n 19 "$source/tests/farm/check_switches.py" "$var/received.flv" "$var/takes" "$start_frame"
