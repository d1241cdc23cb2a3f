#!/usr/bin/env bash
# Two edges on hosts of their own, a platform on another: the edges are apart from each other, with PostgreSQL and without
# it; then the one that publishes is apart from the coordinator too; then its host falls silent, for good. At the
# platform's two addresses every frame comes in once; where it has one address, one publisher at a time: the same while
# edges are apart, the other edge's when the host is gone, within what the platform takes to let a silent one go.
# Usage: partition.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
hosts=(coord work1 edge1 edge2 cloud)
. "$2/tests/farm/net.sh"
idle_s=5 # that the platform's single address waits for a silent publisher

farm_prepare
pg_start
key=(--cluster-key "$var/keys/cluster.key")
begin coordinator coord "$build/coordinator/vistter-coordinator" --database "$pg_database" --http-listen "$subnet.1:8080" \
    --control-listen "$subnet.1:7700" --media "$var/media" --media-url "http://$subnet.1:8080/api/v1/media" \
    --migrations "$top/migrations" --secret-key "$var/keys/secret.key" "${key[@]}"
node=(--coordinators "$subnet.1:7700" "${key[@]}")
begin worker1 work1 "$build/worker/vistter-worker" --name worker1 --frame-listen "$(address work1):7801" \
    --cache "$var/cache/worker1" --state-folder "$var/worker1" "${node[@]}"
for n in 1 2; do
    begin edge${n#1} edge$n "$build/edge/vistter-edge" --name edge$n --frame-listen "$(address edge$n):7800" \
        --cache "$var/cache/edge$n" --state-folder "$var/edge$n" --preview-listen '' --record-folder "$var/recordings" \
        --hash-file "$var/mixed-edge${n#1}" "${node[@]}"
done
mkdir -p "$var"/received/{first,second,single}
cat >"$var/nginx/cloud.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
user root;
daemon off;
master_process off;
pid $var/nginx/cloud.pid;
error_log $var/log/cloud-error.log;
events { worker_connections 256; }
rtmp { access_log off; server { listen $(address cloud):1935; chunk_size 4096; drop_idle_publisher ${idle_s}s;
  application first { live on; record all; record_path $var/received/first; record_unique on; }
  application second { live on; record all; record_path $var/received/second; record_unique on; }
  application single { live on; record all; record_path $var/received/single; record_unique on; } } }
CONF
begin cloud cloud nginx -p "$var/nginx" -c "$var/nginx/cloud.conf" -e "$var/log/cloud-error.log"
disown -a
before_stop() { stop cloud; }
counters_timeline apart >"$var/apart.json"
wait_until 30 "the coordinator did not start" vistter status
wait_until 30 "the nodes did not join" nodes_are 3
printf %s apart >"$var/keys/stream.key"
vistter timeline put apart "$var/apart.json" >/dev/null
vistter channel create apart --width 320 --height 180 --rate 25 --redundancy none >/dev/null
url=rtmp://$(address cloud)
vistter destination add apart --name platform --kind rtmp --url "$url/first" --backup-url "$url/second" --key-file "$var/keys/stream.key" >/dev/null
vistter destination add apart --name lone --kind rtmp --url "$url/single" --key-file "$var/keys/stream.key" >/dev/null
vistter channel start apart apart >/dev/null
destination_says() { vistter --json destination list apart | jq -e ".[] | select(.name == \"$1\") | $2" >/dev/null; }
is_ready() {
    is_paired apart && [ "$(counter apart slack_frames)" -gt 40 ] && destination_says lone '.state == "live"' &&
        destination_says platform '.state == "live" and .backup.state == "live"'
}
both_mixed_to() { [ "$(tail -n 1 "$var/mixed-edge" | cut -d' ' -f1)" -ge "$1" ] && [ "$(tail -n 1 "$var/mixed-edge2" | cut -d' ' -f1)" -ge "$1" ]; }
# nginx makes a file for who is refused as well, with nothing in it.
published() { find "$var/received/$1" -name '*.flv' -size +4k -printf '%T@ %p\n' | sort -n | cut -d' ' -f2; } # application
lone_files() { published single | wc -l; }
alarm_is() { vistter --json node list | jq -e --arg code "$1" 'any(.[].alarms[]; .code == $code)' >/dev/null; }
said_after() { # code at: prints ms
    until alarm_is "$1" || [ $(($(now_ms) - $2)) -gt 5000 ]; do pause 0.02; done
    echo $(($(now_ms) - $2))
}
apart() { block "$1" "$2"; block "$2" "$1"; } # two hosts
publisher() { vistter --json channel status apart | jq -r .edge; }
changes() { cat "$var/log/edge.log" "$var/log/edge2.log" | grep -cE 'publisher_(begins|ends)' || true; }
wait_until 60 "not ready" is_ready

# ---- F28 ----------------------------------------------------------------------------------------
for database in with without; do
    wait_until 60 "not ready $database the database" is_ready
    changes=$(changes) files=$(lone_files) from=$(either_mixed)
    [ $database = with ] || stop postgres KILL
    at=$(now_ms)
    apart edge1 edge2
    said=$(said_after other_edge_lost "$at")
    wait_until 30 "F28: the edges do not go on" both_mixed_to $((from + 200))
    echo "F28 edges apart, $database PostgreSQL: said after $said ms"
    check "F28: said within 1.5 s ($said ms)" [ "$said" -le 1500 ]
    check "F28: nobody begins or ends to publish" [ "$(changes)" = "$changes" ]
    check "F28: one connection at the single address" [ "$(lone_files)" = "$files" ]
    open edge1 edge2
    [ $database = with ] || pg_start
done

# ---- F29 ----------------------------------------------------------------------------------------
# The filter of a host is one list: what the one that is apart gets from both others goes there.
apart_from() { # host other other
    filter "$1" "5,32 0 0 12,21 1 0 $(number_of "$2"),21 0 1 $(number_of "$3"),6 0 0 2,6 0 0 0"
    block "$2" "$1"
    block "$3" "$1"
}
wait_until 60 "not ready for F29" is_ready
one=$(publisher)
other=edge$((3 - ${one#edge}))
files=$(lone_files) from=$(either_mixed)
apart_from "$one" "$other" coord
wait_until 30 "F29: the edges do not go on" both_mixed_to $((from + 250))
check "F29: who publishes goes on, alone" [ "$(lone_files)" = "$files" ]
at=$(now_ms)
open "$one" "$other" coord
wait_until 60 "not ready after F29" is_ready
echo "F29 the publisher apart from all but the platform for 10 s: all is as it was $(($(now_ms) - at)) ms after"

# ---- F12 ----------------------------------------------------------------------------------------
wait_until 60 "not ready for F12" is_ready
one=$(publisher)
other=edge$((3 - ${one#edge}))
files=$(lone_files)
at=$(now_ms)
lose 1 "$one"
for host in "${hosts[@]}"; do [ "$host" = "$one" ] || block "$host" "$one"; done
said_lost() { vistter --json channel status apart | jq -e --arg text "$one is lost" '.text == $text' >/dev/null; }
until said_lost || [ $(($(now_ms) - at)) -gt 5000 ]; do pause 0.02; done
said=$(($(now_ms) - at))
has_more() { [ "$(lone_files)" -gt "$files" ]; }
wait_until 30 "F12: the other edge does not take the single address" has_more
next=$(published single | tail -n 1)
gap=$(awk "BEGIN {print int($(stat -c %.W "$next") * 1000 - $at)}")
echo "F12 a publisher's host silent: said after $said ms; $gap ms without data where the platform waits $((idle_s * 1000)) ms for it"
check "F12: said within 1.3 s, asking included" [ "$said" -le 1300 ]
check "F12: within the platform's wait and 4 s" [ "$gap" -le $((idle_s * 1000 + 4000)) ]
# It does not come back: what it would send then is the slate, until it is planned in again.
family=$(printf %x-%x $(stat -c '%d %i' "$var/$one"))
kill -KILL $(pgrep -f "vistter-deliver .* $family") || true
stop "${one/edge1/edge}" KILL
is_fed_alone() { destination_says lone '.state == "live"' && destination_says platform '.state == "live" and .backup.state == "live"'; }
wait_until 60 "the other edge does not feed all" is_fed_alone
end=$(either_mixed)
wait_until 30 "no frames in the end" either_mixed_to $((end + 50))
start=$(vistter --json channel status apart | jq .start_frame)
vistter channel stop apart >/dev/null
wait_until 30 "the channel did not stop" is_stopped apart
end=$(either_mixed)
check "every frame was mixed by one or both, the right one" mixed_by_either "$var/apart.json" "$start" "$end"
stop cloud
received() { nice -n 19 "$source/tests/farm/check_received.py" check --together --rows 0,60,120 --frames "$var/frames" $(published first) $(published second); }
check "every frame has come in once at the two addresses" received
