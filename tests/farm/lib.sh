# Vocabulary of the farm tests: a farm of its own per test, in a folder of its own, on ports of its own.
# Sourced by tests/farm/*.sh with: lib.sh BUILD_FOLDER SOURCE_FOLDER
set -eu
VISTTER_BUILD=$(cd "$1" && pwd) source=$(cd "$2" && pwd)
VISTTER_VAR=$(mktemp -d -t vistter-farm-XXXXXX)
export VISTTER_BUILD VISTTER_VAR
. "$source/ops/lib/common.sh"

# Ports that nobody uses, kept apart between tests by the process id. A farm's workers take the two or
# three that follow VISTTER_FRAMES.
port=$((20000 + $$ * 7 % 12000))
next_port() { # variable tcp|udp
    until port=$((port + 1)); port_free "$2" "$port"; do :; done
    export "$1=$port"
}
next_port VISTTER_HTTP tcp
next_port VISTTER_CONTROL tcp
next_port VISTTER_PREVIEW tcp
next_port VISTTER_RTMP tcp
next_port VISTTER_FRAMES udp
. "$source/ops/lib/postgres.sh"
. "$source/ops/lib/farm.sh"

failed=0 passed=0
check() { # description command...
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $what" >&2
    fi
}

finish() {
    local status=$? name clean=()
    for name in edge worker1 worker2 worker3; do if alive "$name"; then clean+=("$name"); fi; done
    farm_stop
    for name in $programs worker3; do stop "$name"; done
    if [ "$status" != 0 ] || [ "$failed" != 0 ]; then
        for name in "$var"/log/*.log; do
            echo "--- ${name##*/}" >&2
            tail -n 15 "$name" >&2
        done
        status=1
    fi
    # What was stopped cleanly says as its last word that it has let go of every picture, and an edge and its children
    # of every packet.
    for name in ${clean+"${clean[@]}"}; do
        if ! tail -n 1 "$var/log/$name.log" | grep -q ' stopped pictures_outstanding=0\( \|$\)'; then
            echo "failed: $name did not end with zero pictures outstanding" >&2
            status=1
        fi
    done
    if grep -hE '(pictures|packets)_outstanding=-?[1-9]' "$var"/log/*.log; then
        echo "failed: pictures or packets outstanding after stop" >&2
        status=1
    fi
    rm -rf "$VISTTER_VAR"
    echo "$passed passed, $failed failed"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

# Starts a coordinator, an edge, nginx-rtmp and N workers.
farm_of() { # workers [coordinator's flags]
    local n workers=$1
    shift
    farm_prepare
    pg_start
    nginx_start
    coordinator_start "$@"
    for n in $(seq "$workers"); do worker_start "$n"; done
    edge_start --hash-file "$var/mixed"
    wait_until 30 "the coordinator did not start" curl -fsS "$server/api/v1/status"
    wait_until 30 "$((workers + 1)) nodes did not join" nodes_are $((workers + 1))
}

nodes_are() { [ "$(vistter --json node list | jq '[.[] | select(.state == "up")] | length')" = "$1" ]; }

on_air() { # channel timeline-file [create flags]
    local channel=$1 file=$2
    shift 2
    vistter timeline put "$channel" "$file" >/dev/null
    vistter channel create "$channel" "$@" >/dev/null
    vistter channel start "$channel" "$channel" >/dev/null
    wait_until 60 "$channel did not come on air" is_live "$channel"
}

is_live() { vistter --json channel status "$1" | jq -e '.state == "on_air"' >/dev/null; }
is_stopped() { vistter --json channel status "$1" | jq -e '.state == "stopped"' >/dev/null; }
counter() { vistter --json channel status "$1" | jq -r ".counters.$2"; } # channel name
