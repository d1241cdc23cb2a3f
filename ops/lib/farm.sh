# The demo farm: its programs, in the order they start. Sourced after common.sh and postgres.sh.
programs="postgres nginx coordinator worker1 worker2 edge"
http_port=${VISTTER_HTTP:-8080}
control_port=${VISTTER_CONTROL:-7700}
preview_port=${VISTTER_PREVIEW:-8090}
rtmp_port=${VISTTER_RTMP:-1935}
frame_port=${VISTTER_FRAMES:-7800} # worker N serves frames on this plus N
server=http://127.0.0.1:$http_port

make_key() { # file bytes: a secret in hex, readable by its owner only
    [ -s "$1" ] && return 0
    (umask 077 && openssl rand -hex "$2" >"$1")
}

farm_prepare() {
    mkdir -p "$var/log" "$var/media" "$var/cache" "$var/recordings" "$var/edge" "$var/nginx" "$run"
    mkdir -p -m 700 "$var/keys"
    make_key "$var/keys/cluster.key" 32
    make_key "$var/keys/secret.key" 32
    make_key "$var/keys/demo-stream.key" 16
    alive coordinator || { need_port "$http_port" "the page and the API"; need_port "$control_port" "the control link"; }
    alive edge || need_port "$preview_port" "the preview"
    alive nginx || need_port "$rtmp_port" "the RTMP server"
}

nginx_start() {
    cat >"$var/nginx/nginx.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
worker_processes 1;
pid $var/nginx/nginx.pid;
error_log $var/log/nginx-error.log;
events { worker_connections 256; }
rtmp {
    access_log off;
    server {
        listen 127.0.0.1:$rtmp_port;
        chunk_size 4096;
        application live { live on; record off; wait_key on; idle_streams off; }
    }
}
CONF
    start nginx nginx -p "$var/nginx" -c "$var/nginx/nginx.conf" -e "$var/log/nginx-error.log"
}

# Frames are served on a fixed port, so that a restarted worker is found where it was.
worker_start() { # number [flags]
    local name=worker$1 port=$((frame_port + $1))
    shift
    start "$name" "$build/worker/vistter-worker" --name "$name" \
        --coordinators "127.0.0.1:$control_port" --cluster-key "$var/keys/cluster.key" \
        --frame-listen "127.0.0.1:$port" --cache "$var/cache/$name" "$@"
}

coordinator_start() { # [flags]
    start coordinator "$build/coordinator/vistter-coordinator" --database "$pg_database" \
        --http-listen "127.0.0.1:$http_port" --control-listen "127.0.0.1:$control_port" \
        --media "$var/media" --migrations "$top/migrations" --media-url "$server/api/v1/media" \
        --cluster-key "$var/keys/cluster.key" --secret-key "$var/keys/secret.key" "$@"
}

edge_start() { # [flags]
    start edge "$build/edge/vistter-edge" --name edge1 --coordinators "127.0.0.1:$control_port" \
        --cluster-key "$var/keys/cluster.key" --state-folder "$var/edge" \
        --cache "$var/cache/edge" --preview-listen "127.0.0.1:$preview_port" --record-folder "$var/recordings" "$@"
}

farm_start() {
    pg_start
    nginx_start
    # Two groups, so that both workers have a part in what this machine alone could do.
    coordinator_start --cuts 2
    worker_start 1
    worker_start 2
    edge_start
    wait_until 20 "the coordinator did not start; see $var/log/coordinator.log" \
        curl -fsS "$server/api/v1/status"
    wait_until 20 "the nodes did not join; see $var/log" nodes_joined
}

vistter() {
    "$build/coordinator/vistter" --server "$server" "$@"
}

nodes_joined() {
    [ "$(vistter --json node list | jq 'length')" -ge 3 ]
}

# Makes the demo channel the first time; later the coordinator resumes what was on air.
demo_on_air() {
    if ! vistter --json channel list | jq -e '.[] | select(.name == "demo")' >/dev/null; then
        "$top/ops/demo/make-timeline" >"$var/demo.json"
        vistter timeline put demo "$var/demo.json"
        vistter channel create demo --width 1280 --height 720 --rate 30
        vistter destination add demo --kind rtmp --name platform \
            --url "rtmp://127.0.0.1:$rtmp_port/live" --key-file "$var/keys/demo-stream.key"
        vistter destination add demo --kind recording --name archive
        vistter channel start demo demo
    fi
    wait_until 60 "the demo channel did not come on air; see ops/status and $var/log" demo_live
}

demo_live() {
    vistter --json channel status demo | jq -e '.state == "on_air"' >/dev/null
}

# Waits until a program ends by itself, which nobody wants.
farm_watch() {
    local pids=() name
    for name in $programs; do pids+=("$(cat "$run/$name.pid")"); done
    wait -n "${pids[@]}" || true
    for name in $programs; do
        alive "$name" || say "$name has ended; see $var/log/$name.log"
    done
}

farm_stop() {
    local name
    for name in edge worker2 worker1 coordinator; do stop "$name"; done
    stop nginx QUIT
    pg_stop
}
