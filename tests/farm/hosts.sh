#!/usr/bin/env bash
# Several hosts: coordinator, two workers, edge and RTMP server in five network namespaces of their own,
# joined by a bridge. PostgreSQL stands beside the coordinator, by its Unix socket.
# Usage: hosts.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
[ "$(id -u)" = 0 ] || { echo "network namespaces need root" >&2; trap - EXIT; exit 77; }
tag=v$$
subnet=10.$((RANDOM % 200 + 20)).$((RANDOM % 250))
hosts="hub coord work1 work2 edge rtmp"

hosts_down() { local h; for h in $hosts; do ip netns del "$tag-$h" 2>/dev/null || true; done; }
trap 'set +e; stop edge; stop worker1; stop worker2; stop coordinator; stop nginx; hosts_down; finish' EXIT

# The bridge lives in a namespace too, so that the machine's own network is not touched.
ip netns add "$tag-hub"
ip -n "$tag-hub" link add bridge type bridge
ip -n "$tag-hub" link set bridge up
number=1
for host in coord work1 work2 edge rtmp; do
    number=$((number + 1))
    ip netns add "$tag-$host"
    ip -n "$tag-$host" link set lo up
    ip -n "$tag-$host" link add eth0 type veth peer name "p$number" netns "$tag-hub"
    ip -n "$tag-hub" link set "p$number" master bridge up
    ip -n "$tag-$host" addr add "$subnet.$number/24" dev eth0
    ip -n "$tag-$host" link set eth0 up
done
coord=$subnet.2 work1=$subnet.3 work2=$subnet.4 edge=$subnet.5 rtmp=$subnet.6
on() { # host command...
    local host=$1
    shift
    ip netns exec "$tag-$host" "$@"
}

farm_prepare
pg_start
server=http://$coord:8080
vistter() { on coord "$build/coordinator/vistter" --server "$server" "$@"; }
nginx_start() { :; }
http_port=8080 control_port=7700 preview_port=8090 rtmp_port=1935
cat >"$var/nginx/nginx.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
worker_processes 1;
pid $var/nginx/nginx.pid;
error_log $var/log/nginx-error.log;
events { worker_connections 256; }
rtmp { server { listen $rtmp:1935; chunk_size 4096; application live { live on; record off; } } }
CONF
start nginx ip netns exec "$tag-rtmp" nginx -p "$var/nginx" -c "$var/nginx/nginx.conf" -e "$var/log/nginx-error.log"
# Nodes first: order does not matter.
for n in 1 2; do
    host=work$n
    start "worker$n" ip netns exec "$tag-$host" "$build/worker/vistter-worker" --name "worker$n" \
        --coordinators "$coord:7700" --cluster-key "$var/keys/cluster.key" \
        --frame-listen "${!host}:7800" --cache "$var/cache/worker$n"
done
start edge ip netns exec "$tag-edge" "$build/edge/vistter-edge" --name edge1 --coordinators "$coord:7700" \
    --cluster-key "$var/keys/cluster.key" --state-folder "$var/edge" --cache "$var/cache/edge" --preview-listen "$edge:8090" \
    --record-folder "$var/recordings"
start coordinator ip netns exec "$tag-coord" "$build/coordinator/vistter-coordinator" --database "$pg_database" \
    --http-listen "$coord:8080" --control-listen "$coord:7700" --media "$var/media" --migrations "$top/migrations" \
    --media-url "http://$coord:8080/api/v1/media" --cluster-key "$var/keys/cluster.key" \
    --secret-key "$var/keys/secret.key"
wait_until 30 "the coordinator did not start" vistter status
wait_until 30 "the nodes did not join" nodes_are 3

cat >"$var/hosts.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"hosts","format":{"width":640,"height":360,"rate":"25"},"duration":100,
 "loop":true,"tracks":[
 {"clips":[{"kind":"pattern","start":0,"duration":100,"pattern":{"kind":"bars","tone":{"frequency":440,"level":-20}}}]},
 {"clips":[{"kind":"pattern","start":0,"duration":100,"size":[320,180],"pattern":{"kind":"counter"}}]},
 {"clips":[{"kind":"shape","start":0,"duration":100,"rotation":{"keyframes":[{"at":0,"value":0},{"at":99,"value":360}]},
  "position":[500,270],"shape":{"kind":"rectangle","size":[120,60],"fill":"#ff8800c0"}}]}]}
JSON
vistter timeline put hosts "$var/hosts.json" >/dev/null
vistter channel create hosts --width 640 --height 360 --rate 25 >/dev/null
vistter destination add hosts --name platform --kind rtmp --url "rtmp://$rtmp/live/hosts" >/dev/null
vistter channel start hosts hosts >/dev/null
wait_until 60 "the channel did not come on air" is_live hosts
is_published() { [ "$(vistter --json destination list hosts | jq -r '.[0].state')" = live ]; }
wait_until 30 "the stream did not reach the RTMP server" is_published
on rtmp ffmpeg -v error -nostdin -y -rw_timeout 20000000 -i "rtmp://$rtmp/live/hosts" -t 10 -c copy \
    -f matroska "$var/received.mkv" 2>"$var/receive.err" || true
check "received without an error" [ ! -s "$var/receive.err" ]
ffmpeg -v error -nostdin -i "$var/received.mkv" -f null - 2>"$var/decode.err" || true
check "decoded without an error" [ ! -s "$var/decode.err" ]
frames=$(ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0 "$var/received.mkv")
check "ten seconds of frames (${frames%%,*})" [ "${frames%%,*}" -ge 200 ]
check "nothing concealed" [ "$(counter hosts concealed)" = 0 ]
check "both workers have a part" [ "$(vistter --json channel status hosts | jq '[.groups[].provider] | unique | length')" = 2 ]
