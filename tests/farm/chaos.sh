#!/usr/bin/env bash
# Two coordinators, three workers, two edges, PostgreSQL and the two RTMP servers of a platform: every three seconds one of
# them, at random, is killed or frozen, for a moment or for longer. What has come in at the platform's two addresses
# together has every frame once, by the numbers in its pictures and by its sound, and what the edges mixed is right.
#
# What nothing can hide is not done. Two workers are not struck at once, nor one before all groups have their standbys
# again: both copies of a group would be gone. Nor two edges, nor one before the other has mixed for five seconds: it has no
# whole GOP and no block of sound before. Nor two servers, nor one before both are fed. And an edge that is away for longer
# than five seconds has its address handed to the other, which is silent meanwhile: no server is struck while an edge is
# away, nor an edge for so long while a server is, and neither before both edges and both addresses are back. All else
# may overlap.
# Usage: chaos.sh BUILD_FOLDER SOURCE_FOLDER [SECONDS [SEED]]
. "$2/tests/farm/lib.sh"
seconds=${3:-300} seed=${4:-$RANDOM$RANDOM}

"$source/tests/farm/check_received.py" sound "$var/sound.wav"
# Three groups, each with a row of blocks that shows.
counter_at() { # y
    printf '{"clips":[{"kind":"pattern","start":0,"duration":10000000,"pattern":{"kind":"counter"},"position":[160,%d]}]}' $(($1 + 90))
}
cat >"$var/chaos.json" <<JSON
{"schema":"vistter.timeline/1","name":"chaos","format":{"width":320,"height":180,"rate":"25"},"duration":10000000,
 "assets":{"sound":"file:$var/sound.wav"},"tracks":[$(counter_at 0),$(counter_at 60),$(counter_at 120),
 {"clips":[{"kind":"audio","asset":"sound","start":0,"duration":10000000,"loop":true}]}]}
JSON
next_port VISTTER_RTMP2 tcp
coordinators=127.0.0.1:$control_port,127.0.0.1:$VISTTER_CONTROL2
vistter() { timeout 5 "$build/coordinator/vistter" --server "$server,http://127.0.0.1:$VISTTER_HTTP2" "$@"; }
# One process, so that it dies at one blow; each life records into a folder of its own.
lives=0
server_start() { # name port
    lives=$((lives + 1))
    mkdir -p "$var/received/$lives-$1"
    cat >"$var/nginx/$1.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
pid $var/nginx/$1.pid;
error_log $var/log/$1-error.log;
events { worker_connections 256; }
rtmp { access_log off; server { listen 127.0.0.1:$2; chunk_size 4096;
  application live { live on; record all; record_path $var/received/$lives-$1; record_unique on; } } }
CONF
    start "$1" nginx -p "$var/nginx" -c "$var/nginx/$1.conf" -e "$var/log/$1-error.log"
}
begin() { # program
    case $1 in
    postgres) pg_start ;;
    coordinator) coordinator_start --name coordinator --cuts 1,2 ;;
    second) second_start --cuts 1,2 ;;
    worker?) worker_start "${1#worker}" ;;
    edge) edge_start --hash-file "$var/mixed-edge" ;;
    edge2) edge2_start --hash-file "$var/mixed-edge2" ;;
    primary) server_start primary "$rtmp_port" ;;
    backup) server_start backup "$VISTTER_RTMP2" ;;
    esac
    disown -a
}
clean_up() {
    for name in "${!due[@]}"; do kill -CONT $(victims "$name") 2>/dev/null; done
    for name in second primary backup; do stop $name; done
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
is_protected() { # and all that is to be buffered is
    vistter --json channel status chaos |
        jq -e 'all(.groups[]; .protected) and (.groups | length) == 3 and .counters.slack_frames > 60' >/dev/null
}
is_fed() { vistter --json destination list chaos | jq -e '.[0] | .state == "live" and .backup.state == "live"' >/dev/null; }
last_mixed() { tail -qn 1 "$var/mixed-edge" "$var/mixed-edge2" 2>/dev/null | cut -d' ' -f1 | sort -n | tail -n 1; }
mixed_to() { [ "$(last_mixed)" -ge "$1" ]; }
count_of() { wc -l <"$var/mixed-$1"; }

declare -A due blow mark=([edge]=0 [edge2]=0) # when who is away comes back, from what; how far an edge was when it did
others_are_there() { # name...
    local name
    for name; do [ -z "${due[$name]-}" ] || return 1; done
}
is_paired() { vistter --json channel status chaos | jq -e '[.edge, .backup_edge] | sort == ["edge1", "edge2"]' >/dev/null; }
may_strike() { # name for-ms
    others_are_there "$1" || return 1
    case $1 in
    worker?) others_are_there worker1 worker2 worker3 && is_protected ;;
    edge | edge2)
        local other=edge2
        [ "$1" = edge ] || other=edge
        others_are_there $other && [ "$(count_of $other)" -ge $((mark[$other] + 125)) ] && is_paired || return 1
        if others_are_there primary backup; then is_fed; else [ "$2" -lt 5000 ]; fi
        ;;
    primary | backup) others_are_there primary backup edge edge2 && is_paired && is_fed ;;
    esac
}
names=(worker1 worker2 worker3 coordinator second postgres edge edge2 primary backup)
signals=(KILL KILL STOP) absences=(300 300 2000 7000) strikes=0
victims() { # name: its process; of a database that is frozen all of them, or its sessions would go on
    cat "$run/$1.pid"
    [ "$1" != postgres ] || ps -o pid= --ppid "$(cat "$run/$1.pid")" || true
}
strike() {
    local name signal absence pid
    signal=${signals[RANDOM % 3]} absence=${absences[RANDOM % 4]}
    for _ in {1..20}; do
        name=${names[RANDOM % ${#names[@]}]}
        if may_strike "$name" "$absence" 2>/dev/null; then
            echo "frame $(last_mixed): $name gets $signal for $absence ms"
            kill -"$signal" $(victims "$name")
            due[$name]=$(($(now_ms) + absence)) blow[$name]=$signal strikes=$((strikes + 1))
            return
        fi
    done
}
bring_back() { # name
    [ -z "${mark[$1]-}" ] || mark[$1]=$(count_of "$1")
    if [ "${blow[$1]}" = KILL ]; then
        stop "$1" KILL
        begin "$1"
    else
        kill -CONT $(victims "$1")
    fi
    unset "due[$1]"
}
rage() { # seconds: a blow every three
    local name end next
    end=$(($(now_ms) + $1 * 1000)) next=0
    while [ "$(now_ms)" -lt "$end" ] || [ ${#due[@]} -gt 0 ]; do
        for name in "${!due[@]}"; do [ "${due[$name]}" -gt "$(now_ms)" ] || bring_back "$name"; done
        if [ "$(now_ms)" -ge "$next" ] && [ "$(now_ms)" -lt "$end" ]; then
            next=$(($(now_ms) + 3000))
            strike
        fi
        pause 0.05
    done
}

farm_prepare
touch "$var/mixed-edge" "$var/mixed-edge2"
begin postgres
for name in "${names[@]}"; do begin "$name"; done
wait_until 30 "the coordinators did not start" curl -fsS "$server/api/v1/status"
wait_until 30 "the nodes did not join" nodes_are 5
printf %s "chaos" >"$var/keys/stream.key"
vistter timeline put chaos "$var/chaos.json" >/dev/null
vistter channel create chaos --width 320 --height 180 --rate 25 >/dev/null
vistter destination add chaos --name platform --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" \
    --backup-url "rtmp://127.0.0.1:$VISTTER_RTMP2/live" --key-file "$var/keys/stream.key" >/dev/null
vistter channel start chaos chaos >/dev/null
wait_until 60 "not protected" is_protected
wait_until 30 "not on both addresses" is_fed

RANDOM=$seed
echo "seed $seed"
rage "$seconds"
wait_until 60 "not protected in the end" is_protected
wait_until 60 "not on both addresses in the end" is_fed
at=$(last_mixed)
wait_until 30 "no frames in the end" mixed_to $((at + 100))
check "frames made twice were the same" [ "$(vistter --json channel status chaos | jq .purity.mismatched)" = 0 ]
start=$(vistter --json channel status chaos | jq .start_frame)
vistter channel stop chaos >/dev/null
wait_until 30 "the channel did not stop" is_stopped chaos
end=$(last_mixed)
stop primary
stop backup
echo "$strikes blows, $((end - start)) frames"
"$build/coordinator/vistter" render "$var/chaos.json" --quiet --rate 25 --cache "$var/render-cache" --start "$start" --frames "0..$((end + 1 - start))" --hash "$var/offline"
# An edge that wakes up, or comes back, has nothing in store and may show the slate for its first frames; its publishers
# have the other's packets then, and that no such frame has come in is seen below.
mixed() {
    awk 'FILENAME ~ /offline$/ {right[$1] = $0; next} {if ($0 == right[$1]) there[$1] = 1; else other++}
        END {
            for (number in right) missing += !there[number]
            printf "mixed: %d frames missing, %d not as they should be at one edge\n", missing, other
            exit missing > 0
        }' "$var/offline" "$var/mixed-edge" "$var/mixed-edge2"
}
check "every frame was mixed by one or both, the right one" mixed
received() {
    nice -n 19 "$source/tests/farm/check_received.py" check --together --rows 0,60,120 --frames "$var/frames" "$var"/received/*/*.flv
}
check "every frame has come in once" received
