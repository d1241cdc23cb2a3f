# A farm beside any other, for tests and measurements: in a folder of its own, on ports of its own.
# Sourced instead of common.sh, postgres.sh and farm.sh, which it brings. Whoever sources it ends it.
VISTTER_VAR=$(mktemp -d -t vistter-farm-XXXXXX)
export VISTTER_VAR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"

# Ports that nobody uses, below those that the kernel gives to callers, apart between scripts by the
# process id. Workers take those that follow VISTTER_FRAMES.
port=$((20000 + BASHPID * 7 % 12000))
next_port() { # variable tcp|udp
    until port=$((port + 1)); port_free "$2" "$port"; do :; done
    export "$1=$port"
}
next_port VISTTER_HTTP tcp
next_port VISTTER_CONTROL tcp
next_port VISTTER_PREVIEW tcp
next_port VISTTER_PREVIEW2 tcp # of a second edge
next_port VISTTER_HTTP2 tcp # of a second coordinator
next_port VISTTER_CONTROL2 tcp
next_port VISTTER_RTMP tcp
next_port VISTTER_FRAMES udp
. "$here/postgres.sh"
. "$here/farm.sh"

# A second edge, and a second coordinator, for whoever wants them; "coordinators" is to name both then.
edge2_start() { # [flags]
    start edge2 "$build/edge/vistter-edge" --name edge2 --coordinators "$coordinators" \
        --cluster-key "$var/keys/cluster.key" --state-folder "$var/edge2" --cache "$var/cache/edge2" \
        --frame-listen "127.0.0.1:$((frame_port + 9))" --preview-listen "127.0.0.1:$VISTTER_PREVIEW2" \
        --record-folder "$var/recordings2" "$@"
}
second_start() { # [flags]
    start second "$build/coordinator/vistter-coordinator" --name second --database "$pg_database" \
        --http-listen "127.0.0.1:$VISTTER_HTTP2" --control-listen "127.0.0.1:$VISTTER_CONTROL2" \
        --media "$var/media" --migrations "$top/migrations" --media-url "$server/api/v1/media" \
        --cluster-key "$var/keys/cluster.key" --secret-key "$var/keys/secret.key" "$@"
}

# Stops everything. What was stopped cleanly says as its last word that it has let go of every picture, and an edge and
# its children of every packet.
private_farm_stop() {
    local name clean=() status=0
    for name in edge edge2 worker1 worker2 worker3; do if alive "$name"; then clean+=("$name"); fi; done
    stop worker3
    stop edge2
    farm_stop
    for name in ${clean+"${clean[@]}"}; do
        if ! tail -n 1 "$var/log/$name.log" | grep -q ' stopped pictures_outstanding=0\( \|$\)'; then
            echo "$name did not end with zero pictures outstanding" >&2
            status=1
        fi
    done
    if grep -hE '(pictures|packets)_outstanding=-?[1-9]' "$var"/log/*.log; then
        echo "pictures or packets outstanding after stop" >&2
        status=1
    fi
    return $status
}

private_farm_remove() {
    [ -n "${VISTTER_KEEP:-}" ] || rm -rf "$VISTTER_VAR"
}

show_logs() {
    local name
    for name in "$var"/log/*.log; do
        printf -- '--- %s\n' "${name##*/}" >&2
        tail -n 15 "$name" >&2
    done
}
