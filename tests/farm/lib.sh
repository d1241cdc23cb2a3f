# Vocabulary of the farm tests: a farm of its own per test, in a folder of its own, on ports of its own.
# Sourced by tests/farm/*.sh with: lib.sh BUILD_FOLDER SOURCE_FOLDER
# VISTTER_KEEP=1 keeps the folder.
set -eu
VISTTER_BUILD=$(cd "$1" && pwd) source=$(cd "$2" && pwd)
export VISTTER_BUILD
. "$source/ops/lib/private.sh"

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

before_stop() { :; } # a test may keep programs running
clean_up() { :; }    # and may have more to put right
finish() {
    local status=$?
    trap '' INT TERM HUP
    set +e
    before_stop
    private_farm_stop || status=1
    if grep -hE 'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:' "$var"/log/*.log; then
        status=1
    fi
    if [ "$status" != 0 ] || [ "$failed" != 0 ]; then
        show_logs
        status=1
    fi
    clean_up
    private_farm_remove
    echo "$passed passed, $failed failed"
    exit "$status"
}
trap finish EXIT

worker_flags=
# Starts a coordinator, an edge, nginx-rtmp and N workers with $worker_flags.
farm_of() { # workers [coordinator's flags]
    local n workers=$1
    shift
    farm_prepare
    pg_start
    nginx_start
    coordinator_start "$@"
    for n in $(seq "$workers"); do worker_start "$n" $worker_flags; done
    edge_start --hash-file "$var/mixed"
    wait_until 30 "the coordinator did not start" curl -fsS "$server/api/v1/status"
    wait_until 30 "$((workers + 1)) nodes did not join" nodes_are $((workers + 1))
}

# A film, a counter with its tone, and one that changes what lies beneath it: three kinds of group.
layers_timeline() { # name
    cat <<JSON
{"schema":"vistter.timeline/1","name":"$1","format":{"width":320,"height":180,"rate":"25"},"duration":200,
 "loop":true,"assets":{"hello":"file:/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4"},"tracks":[
 {"clips":[{"kind":"video","asset":"hello","start":0,"duration":200,"fit":"cover","opacity":0.8}]},
 {"clips":[{"kind":"pattern","start":0,"duration":200,"size":[160,90],
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]},
 {"clips":[{"kind":"adjust","start":0,"duration":200,"brightness":{"keyframes":[{"at":0,"value":0},{"at":199,"value":0.4}]}}]}]}
JSON
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
