# The demo farm: its programs, in the order they start. Sourced after common.sh and postgres.sh.
programs="postgres nginx coordinator worker1 worker2 edge"
http_port=${VISTTER_HTTP:-8080}
control_port=${VISTTER_CONTROL:-7700}
preview_port=${VISTTER_PREVIEW:-8090}
rtmp_port=${VISTTER_RTMP:-1935}
frame_port=${VISTTER_FRAMES:-7800} # the edge gives packets on this, worker N frames on this plus N
server=http://127.0.0.1:$http_port

# What would fail later, in one line, before anything slow begins.
farm_check() {
    local port variable protocol program purpose
    [[ $frame_port =~ ^[1-9][0-9]{0,4}$ ]] || die "VISTTER_FRAMES: $frame_port is not a port"
    while read -r port variable protocol program purpose; do
        [[ $port =~ ^[1-9][0-9]{0,4}$ && $port -le 65535 ]] || die "$variable: $port is not a port"
        alive "$program" || port_free "$protocol" "$port" ||
            die "port $port is in use by another program; $purpose needs it ($variable=PORT names another)"
    done <<PORTS
$http_port VISTTER_HTTP tcp coordinator the page
$control_port VISTTER_CONTROL tcp coordinator the control link
$preview_port VISTTER_PREVIEW tcp edge the preview
$rtmp_port VISTTER_RTMP tcp nginx the RTMP server
$frame_port VISTTER_FRAMES udp edge other edges
$((frame_port + 1)) VISTTER_FRAMES udp worker1 the first worker
$((frame_port + 2)) VISTTER_FRAMES udp worker2 the second worker
PORTS
    [ ${#pg_socket} -le 85 ] ||
        die "$var is too long a name for the database's socket; VISTTER_VAR=FOLDER names another"
    local packages=
    [ -z "$(missing_packages build worker run)" ] || packages=yes
    need_space "$var" 2048 "$build" 200 ${packages:+/usr 2000 /var/cache/apt 700}
}

make_key() { # file bytes: a secret in hex, readable by its owner only
    [ -s "$1" ] && return 0
    (umask 077 && openssl rand -hex "$2" >"$1")
}

farm_prepare() {
    mkdir -p "$var/log" "$var/media" "$var/cache" "$var/recordings" "$var/edge" "$var/nginx" "$var/kept" "$run"
    mkdir -p -m 700 "$var/keys"
    make_key "$var/keys/cluster.key" 32
    make_key "$var/keys/secret.key" 32
    make_key "$var/keys/demo-stream.key" 16
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
        application backup { live on; record off; wait_key on; idle_streams off; }
        application kept { live on; record all; record_unique on; record_path "$var/kept"; wait_key on; idle_streams off; }
    }
}
CONF
    start nginx nginx -p "$var/nginx" -c "$var/nginx/nginx.conf" -e "$var/log/nginx-error.log"
}

coordinators=127.0.0.1:$control_port # that nodes dial

# Frames are served on a fixed port, so that a restarted worker is found where it was: UDP. Encoders of sources of the kind
# rtmp call at the same number of TCP.
worker_start() { # number [flags]
    local name=worker$1 port=$((frame_port + $1))
    shift
    start "$name" "$build/worker/vistter-worker" --name "$name" \
        --coordinators "$coordinators" --cluster-key "$var/keys/cluster.key" \
        --frame-listen "127.0.0.1:$port" --rtmp-listen "127.0.0.1:$port" --cache "$var/cache/$name" \
        --state-folder "$var/worker" "$@"
}

coordinator_start() { # [flags]
    start coordinator "$build/coordinator/vistter-coordinator" --database "$pg_database" \
        --http-listen "127.0.0.1:$http_port" --control-listen "127.0.0.1:$control_port" \
        --media "$var/media" --migrations "$top/migrations" --media-url "$server/api/v1/media" \
        --cluster-key "$var/keys/cluster.key" --secret-key "$var/keys/secret.key" "$@"
}

edge_start() { # [flags]
    start edge "$build/edge/vistter-edge" --name edge1 --coordinators "$coordinators" \
        --cluster-key "$var/keys/cluster.key" --state-folder "$var/edge" \
        --cache "$var/cache/edge" --frame-listen "127.0.0.1:$frame_port" --preview-listen "127.0.0.1:$preview_port" --record-folder "$var/recordings" "$@"
}

program_start() { # name
    case $1 in
    postgres) pg_start ;;
    nginx) nginx_start ;;
    # Two groups, so that both workers have a part in what this machine alone could do.
    coordinator) coordinator_start --cuts 2 ;;
    worker*) worker_start "${1#worker}" ;;
    edge) edge_start ;;
    esac
}

farm_start() {
    local name
    for name in $programs; do program_start "$name"; done
    wait_until 20 "the coordinator did not start; see $var/log/coordinator.log" \
        curl -fsS "$server/api/v1/status"
    wait_until 20 "the nodes did not join; see $var/log" nodes_joined
}

vistter() {
    "$build/coordinator/vistter" --server "$server" "$@"
}

nodes_joined() {
    vistter --json node list | jq -e 'arrays | length >= 3' # a refusal is an object
}

# Makes the demo channel, or completes what an interrupted ops/up left of it. Once it has been started
# it is the user's: it resumes by itself, or stays stopped.
demo_on_air() {
    vistter --json channel list | jq -e '.[] | select(.name == "demo" and .timeline != "")' >/dev/null || demo_make
    ! vistter --json channel status demo | jq -e '.state == "stopped"' >/dev/null || return 0
    # Where it does not, others of the farm may well be on air: that ends nothing.
    (wait_until 60 "the demo channel did not come on air; see ops/status and $var/log" demo_live) || true
}

demo_make() {
    "$top/ops/demo/make-timeline" >"$var/demo.json"
    vistter timeline put demo "$var/demo.json"
    vistter --json channel list | jq -e '.[] | select(.name == "demo")' >/dev/null ||
        vistter channel create demo --width 1280 --height 720 --rate 30
    demo_destination platform --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" \
        --key-file "$var/keys/demo-stream.key"
    demo_destination archive --kind recording
    vistter channel start demo demo
    wait_until 60 "the demo channel did not come on air; see ops/status and $var/log" demo_live
}

demo_destination() { # name flags...
    local name=$1
    shift
    vistter --json destination list demo | jq -e --arg name "$name" '.[] | select(.name == $name)' >/dev/null ||
        vistter destination add demo --name "$name" "$@"
}

demo_live() {
    vistter --json channel status demo | jq -e '.state == "on_air"' >/dev/null
}

farm_is_whole() {
    local name
    for name in $programs; do alive "$name" || return 1; done
}

farm_runs() {
    local name
    for name in $programs; do ! alive "$name" || return 0; done
    return 1
}

# Starts again what ends and was not stopped. What has ended for the fourth time within ten seconds is left alone, so that
# one that cannot run takes nothing from those that can.
declare -A restarts # when, by name, in seconds
program_ended() { # name
    local at recent=
    for at in ${restarts[$1]-}; do [ $((SECONDS - at)) -ge 10 ] || recent="$recent $at"; done
    if [ "$(wc -w <<<"$recent")" -ge 3 ]; then
        rm -f "$run/$1.pid" "$run/$1.since"
        say "!!! $1 HAS ENDED FOUR TIMES IN TEN SECONDS and is not started again; see $var/log/$1.log. ops/up tries again."
        return
    fi
    restarts[$1]="$recent $SECONDS"
    say "$1 has ended; see $var/log/$1.log. It is started again."
    (program_start "$1") || true # has said why; it counts as ended again
}

# For one watcher at a time; returns when nothing is left to be watched.
farm_watch() {
    local name
    exec 6>"$run/watching"
    flock -n 6 || return 0
    disown -a # the shell's own words about their end
    while compgen -G "$run/*.pid" >/dev/null; do
        for name in $programs; do
            if [ ! -e "$run/$name.pid" ] || alive "$name"; then continue; fi
            farm_lock >/dev/null # ops/down and another ops/up finish first
            [ ! -e "$run/$name.pid" ] || alive "$name" || program_ended "$name"
            farm_unlock
        done
        pause 1
    done
}

farm_stop() {
    stop_all watch edge worker2 worker1 coordinator nginx postgres
}
