#!/usr/bin/env bash
# Two encoders on air by RTMP. Coordinator and database are killed, one encoder comes again, then the worker is killed that
# both send to, and is back: both are on air again. With the database back one gets a new key: its encoder is cut off, and
# the other one notices nothing. What was mixed is an offline render from the worker's log.
# Usage: ingest.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"

# As an encoder on its own does: it calls again when its connection ends. The key stands in a file that it reads anew.
encoder() { # source
    start "$1" bash -c 'while :; do ffmpeg -v error -nostdin -re -f lavfi -i "testsrc2=s=320x180:r=25" -f lavfi -i sine=500:r=48000 \
        -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac -f flv "rtmp://127.0.0.1:$1/live/$(<"$2")"
        sleep 0.3; done' encoder $((frame_port + 1)) "$var/$1.key"
    disown -a # the shell's own words about who is killed
}
encoder_end() { # source: the loop and what it started
    ! alive "$1" || kill -KILL -- "-$pid"
    rm -f "$run/$1.pid" "$run/$1.since"
}
before_stop() { for each in studio phone; do encoder_end $each; done; }
source_is() { vistter --json source show "$1" | jq -e --arg state "$2" '.status.state == $state' >/dev/null; }
says() { vistter --json source show "$1" | jq -e "$2" >/dev/null; }
has_come() { [ "$(grep -c "rtmp_sender source=$1 " "$var/log/worker1.log")" -ge "$2" ]; } # source times
newest() { tail -qn 1 "$var/mixed" | cut -d' ' -f1; }
mixed_to() { [ "$(newest)" -ge "$1" ]; }
# The last second of pictures is no still, neither a held one nor the fallback, in either half.
moves() { [ "$(tail -n 25 "$var/mixed" | cut -d' ' -f2 | sort -u | wc -l)" -ge 20 ]; }
same_as_log() { # what
    local end
    end=$(newest)
    wait_until 30 "$1: the edge does not go on" mixed_to "$((end + 1))"
    rm -rf "$var/logs"
    cp -r "$var/cache/worker1/live" "$var/logs"
    "$build/coordinator/vistter" render "$var/show.json" --quiet --cache "$var/render-cache" --start "$start" \
        --frames "$((end - 150 - start))..$((end - start))" --logs "$var/logs" --epoch "$epoch" --hash "$var/offline"
    check "$1: what was mixed is what the log gives" same_bits "$var/offline" "$var/mixed"
}
same_bits() { # offline mixed
    awk 'NR == FNR {right[$1] = $0; next} $1 in right {seen++; if ($0 != right[$1]) {other++; at = at " " $1}}
        END {printf "%d of %d frames differ%s\n", other, seen, substr(at, 1, 200); exit other > 0 || seen < 100}' "$1" "$2"
}

cat >"$var/show.json" <<'JSON'
{"schema":"vistter.timeline/1","format":{"width":320,"height":180,"rate":"25"},"duration":100000,"tracks":[
 {"clips":[{"kind":"camera","source":"studio","start":0,"duration":100000,"fit":"cover"}]},
 {"clips":[{"kind":"camera","source":"phone","start":0,"duration":100000,"size":[96,54],"position":[260,140]}]}]}
JSON
farm_of 2 --cuts 1
for each in studio phone; do
    vistter source put $each --rtmp --worker worker1 --key-file "$var/$each.key" >/dev/null
    encoder $each
done
for each in studio phone; do wait_until 30 "$each is not live" source_is $each live; done
wait_until 10 "it is not said what it is" says studio '.status | .video.codec == "h264" and .video.width == 320 and .sound.codec == "aac" and .rtmp.sender == "127.0.0.1"'
on_air show "$var/show.json" --width 320 --height 180 --rate 25
start=$(vistter --json channel status show | jq .start_frame) epoch=$(vistter --json channel status show | jq -r .epoch_ns)
wait_until 30 "no frames" mixed_to "$((start + 200))"
wait_until 10 "the pictures stand still" moves
same_as_log "on air"

# Nobody is left to ask.
stop coordinator KILL
stop postgres KILL
encoder_end studio
encoder studio
wait_until 20 "the encoder does not get in" has_come studio 2
from=$(newest)
wait_until 30 "the channel does not go on" mixed_to "$((from + 150))"
check "both move" moves
same_as_log "an encoder has come again"
stop worker1 KILL
worker_start 1
disown -a
wait_until 30 "the encoders do not get in at a worker that remembers" has_come phone 2
wait_until 30 "the encoders do not get in at a worker that remembers" has_come studio 3

# A new key.
pg_start
coordinator_start --cuts 1
vistter_up() { vistter --json source list | jq -e arrays >/dev/null; }
wait_until 30 "the coordinator does not answer" vistter_up
for each in studio phone; do wait_until 30 "$each is not live again" source_is $each live; done
old=$(<"$var/studio.key")
connections() { vistter --json source show phone | jq -c '[.status.gen, .status.rtmp.connections]'; }
phone=$(connections)
vistter source put studio --rtmp --worker worker1 --key-file "$var/new.key" >/dev/null
wait_until 20 "the old key is not refused" says studio '.status.rtmp.refusal == "the key is an old one" and .status.rtmp.refused == "127.0.0.1"'
wait_until 20 "the source is not lost" source_is studio lost
cp "$var/new.key" "$var/studio.key"
wait_until 20 "the new key is not let in" source_is studio live
check "the other one noticed nothing" [ "$phone" = "$(connections)" ]
from=$(newest)
wait_until 30 "the channel does not go on" mixed_to "$((from + 150))"
wait_until 10 "the pictures stand still again" moves
same_as_log "a new key"

answers() { vistter --json source list && vistter --json status && vistter source show studio; }
answers >"$var/answers"
keeps_keys() { ! grep -lF -e "$old" -e "$(<"$var/new.key")" -e "$(<"$var/phone.key")" "$var"/log/{coordinator,worker?,edge}.log "$var/answers" "$var"/cache/worker1/rtmp/nginx.conf; }
check "no key in a log, an answer, or nginx's settings" keeps_keys
vistter channel stop show >/dev/null
wait_until 30 "the channel did not stop" is_stopped show
for each in studio phone; do vistter source remove $each; done >/dev/null
nobody_listens() { port_free tcp $((frame_port + 1)); }
wait_until 20 "the worker listens for nobody" nobody_listens
