#!/usr/bin/env bash
# Several hosts: coordinator, two workers, edge and RTMP server in five network namespaces of their own,
# joined by a bridge, started by the very lines of README's three hosts from an installation below a folder.
# PostgreSQL stands beside the coordinator, by its Unix socket.
# Usage: hosts.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
[ "$(id -u)" = 0 ] || { echo "network namespaces need root" >&2; trap - EXIT; exit 77; }
tag=v$$
subnet=10.$((RANDOM % 200 + 20)).$((RANDOM % 250))
hosts="hub coord work1 edge work2 rtmp"

clean_up() { local h; for h in $hosts; do ip netns del "$tag-$h" 2>/dev/null; done; }

# The bridge lives in a namespace too, so that the machine's own network is not touched.
ip netns add "$tag-hub"
ip -n "$tag-hub" link add bridge type bridge
ip -n "$tag-hub" link set bridge up
number=0
for host in coord work1 edge work2 rtmp; do
    number=$((number + 1))
    ip netns add "$tag-$host"
    ip -n "$tag-$host" link set lo up
    ip -n "$tag-$host" link add eth0 type veth peer name "p$number" netns "$tag-hub"
    ip -n "$tag-hub" link set "p$number" master bridge up
    ip -n "$tag-$host" addr add "$subnet.$number/24" dev eth0
    ip -n "$tag-$host" link set eth0 up
done
rtmp=$subnet.5
on() { # host command...
    local host=$1
    shift
    ip netns exec "$tag-$host" "$@"
}

# README's addresses are this network's, its folders lie in ours, the database is the private one.
cmake --install "$build" --prefix "$var/usr" >"$var/install.log"
line_of() { # program
    sed -n '/^## Three hosts/,/^## Where/p' "$source/README.md" | sed -e ':a' -e '/\\$/{N;s/ *\\\n */ /;ba' -e '}' |
        sed -n "s/^ *\($1 .*\)/\1/p" | sed -e "s|192\.0\.2\.|$subnet.|g" -e "s|host=/run/postgresql dbname=vistter|$pg_database|" \
            -e "s| /srv/| $var/srv/|g" -e "s| /var/| $var/var/|g" -e "s| /usr/local/| $var/usr/|g" \
            -e "s| \([a-z]*\.key\)| $var/keys/\1|g" -e "s|^|exec $var/usr/bin/|"
}
begin() { # name host line
    start "$1" ip netns exec "$tag-$2" bash -c "$3"
}

farm_prepare
mkdir -p "$var/srv" "$var/var/cache" "$var/var/lib" # what every host has
pg_start
vistter() { on coord "$var/usr/bin/vistter" --server "http://$subnet.1:8080" "$@"; }
cat >"$var/nginx/nginx.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
worker_processes 1;
pid $var/nginx/nginx.pid;
error_log $var/log/nginx-error.log;
events { worker_connections 256; }
rtmp { server { listen $rtmp:1935; chunk_size 4096; application live { live on; record off; } } }
CONF
begin nginx rtmp "exec nginx -p $var/nginx -c $var/nginx/nginx.conf -e $var/log/nginx-error.log"
# Nodes first: order does not matter.
worker=$(line_of vistter-worker)
begin worker1 work1 "$worker"
begin worker2 work2 "$(sed "s/worker1/worker2/; s/$subnet.2:/$subnet.4:/; s|cache/vistter|cache/second|" <<<"$worker")"
begin edge edge "$(line_of vistter-edge)"
begin coordinator coord "$(line_of vistter-coordinator) --cuts 1" # light as it is, one worker would do it alone
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

# worker2 reports and prepares, but what the edge sends it gets lost: the edge's groups go to worker1.
vistter channel stop hosts >/dev/null
wait_until 30 "the channel did not stop" is_stopped hosts
ip -n "$tag-edge" neigh replace "$subnet.4" lladdr 02:00:00:00:00:99 dev eth0 nud permanent
vistter channel start hosts hosts >/dev/null
wait_until 60 "the channel did not come on air without worker2" is_live hosts
check "worker1 has all" [ "$(vistter --json channel status hosts | jq -c '[.groups[].provider] | unique')" = '["worker1"]' ]
