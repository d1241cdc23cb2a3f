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

# Compares checksums of what an edge mixed with those of an offline render, but for frames that lines "from to" on
# standard input name, such as the as-run ledger's. The sound of the first frame after such is faded in. Prints how many
# frames were compared, and how many of these differ.
compare_planned() { # offline mixed
    awk 'FILENAME == ARGV[1] {for (n = $1; n <= $2; n++) unsure[n] = 1; faded[$2 + 1] = 1; next}
        FILENAME == ARGV[2] {picture[$1] = $2; sound[$1] = $3; next}
        !($1 in unsure) {
            total++
            if (picture[$1] != $2 || (sound[$1] != $3 && !($1 in faded))) {
                differ++
                print "differs:", $0 > "/dev/stderr"
            }
        }
        END {print total + 0, differ + 0}' - "$1" "$2"
}
ledger() { # [channel's number]: "from to" of what did not go as planned; no file: all did
    cat "$var"/edge/as-run*.jsonl 2>/dev/null | jq -r --arg channel "${1:-}" \
        'select($channel == "" or .channel == ($channel | tonumber)) | "\(.from) \(.to)"'
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

# Control groups, of either version.
tag=n$$
group_of() { # controller
    local root=/sys/fs/cgroup
    [ ! -d "$root/$1" ] || root=$root/$1
    mkdir -p "$root/$tag"
    echo "$root/$tag"
}
# Microseconds of processor in each 100 ms for all in the group together, -1: as many as they like. They get them on a
# busy machine too, where a group counts as one thread otherwise.
ration() { # microseconds
    local group
    group=$(group_of cpu)
    if [ -e "$group/cpu.cfs_quota_us" ]; then
        echo 262144 >"$group/cpu.shares"
        echo "$1" >"$group/cpu.cfs_quota_us"
    else
        echo 10000 >"$group/cpu.weight"
        echo "${1/#-1/max} 100000" >"$group/cpu.max"
    fi
}
groups_remove() {
    local root
    for root in /sys/fs/cgroup /sys/fs/cgroup/freezer /sys/fs/cgroup/cpu; do rmdir "$root/$tag" 2>/dev/null; done
}

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

# Three groups with a counter each, and sound whose place can be heard: what check_received.py looks at.
counters_timeline() { # name
    local at tracks= clip='"kind":"pattern","start":0,"duration":10000000,"pattern":{"kind":"counter"}'
    [ -e "$var/sound.wav" ] || "$source/tests/farm/check_received.py" sound "$var/sound.wav"
    for at in 90 150 210; do
        tracks="$tracks{\"clips\":[{$clip,\"position\":[160,$at]}]},"
    done
    cat <<JSON
{"schema":"vistter.timeline/1","name":"$1","format":{"width":320,"height":180,"rate":"25"},"duration":10000000,
 "assets":{"sound":"file:$var/sound.wav"},"tracks":[$tracks
 {"clips":[{"kind":"audio","asset":"sound","start":0,"duration":10000000,"loop":true}]}]}
JSON
}

# An RTMP server that keeps what comes in: one process, so that it dies at one blow; each life has a folder of its own.
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

# ---- A farm of two of all there is, with a channel at the two addresses of a platform -----------
next_port VISTTER_RTMP2 tcp
part_start() { # program
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
    disown -a # the shell's own words about who is killed
}
# Starts all parts with the function `begin`, and puts the counters on air.
pair_on_air() { # channel part...
    local channel=$1 part
    shift
    coordinators=127.0.0.1:$control_port,127.0.0.1:$VISTTER_CONTROL2
    vistter() { timeout 5 "$build/coordinator/vistter" --server "$server,http://127.0.0.1:$VISTTER_HTTP2" "$@"; }
    farm_prepare
    touch "$var/mixed-edge" "$var/mixed-edge2"
    counters_timeline "$channel" >"$var/$channel.json"
    for part; do begin "$part"; done
    wait_until 30 "the coordinators did not start" curl -fsS "$server/api/v1/status"
    wait_until 30 "the nodes did not join" nodes_are "$(grep -oE '\b(worker|edge)' <<<"$*" | wc -l)"
    printf %s "$channel" >"$var/keys/stream.key"
    vistter timeline put "$channel" "$var/$channel.json" >/dev/null
    vistter channel create "$channel" --width 320 --height 180 --rate 25 >/dev/null
    vistter destination add "$channel" --name platform --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" \
        --backup-url "rtmp://127.0.0.1:$VISTTER_RTMP2/live" --key-file "$var/keys/stream.key" >/dev/null
    vistter channel start "$channel" "$channel" >/dev/null
    wait_until 60 "not protected" is_protected "$channel"
    wait_until 30 "not on both addresses" is_fed "$channel"
}
is_protected() { # channel: its groups are, and all that is to be buffered is
    vistter --json channel status "$1" |
        jq -e 'all(.groups[]; .protected) and (.groups | length) == 3 and .counters.slack_frames > 60' >/dev/null
}
is_fed() { vistter --json destination list "$1" | jq -e '.[0] | .state == "live" and .backup.state == "live"' >/dev/null; }
is_paired() { vistter --json channel status "$1" | jq -e '[.edge, .backup_edge] | sort == ["edge1", "edge2"]' >/dev/null; }
either_mixed() { tail -qn 1 "$var/mixed-edge" "$var/mixed-edge2" 2>/dev/null | cut -d' ' -f1 | sort -n | tail -n 1; }
either_mixed_to() { [ "$(either_mixed)" -ge "$1" ]; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
# Stops it, and looks at all that was mixed and that has come in.
pair_off_air() { # channel
    local start end
    wait_until 60 "not protected in the end" is_protected "$1"
    wait_until 60 "not on both addresses in the end" is_fed "$1"
    end=$(either_mixed)
    wait_until 30 "no frames in the end" either_mixed_to $((end + 100))
    check "frames made twice were the same" [ "$(vistter --json channel status "$1" | jq .purity.mismatched)" = 0 ]
    start=$(vistter --json channel status "$1" | jq .start_frame)
    vistter channel stop "$1" >/dev/null
    wait_until 30 "the channel did not stop" is_stopped "$1"
    end=$(either_mixed)
    stop primary
    stop backup
    echo "$((end - start)) frames"
    check "every frame was mixed by one or both, the right one" mixed_by_either "$var/$1.json" "$start" "$end"
    check "every frame has come in once" received_by_either
}
pair_clean_up() { local part; for part in second primary backup; do stop $part; done; }

# Of a channel made by edge and edge2, whose --hash-file are mixed-edge and mixed-edge2: all frames from its start to the
# last were mixed by one or both, and are the right ones. An edge that wakes up, or comes back, has nothing in store and
# may show the slate for its first frames; its publishers have the other's packets then.
mixed_by_either() { # timeline-file start end
    "$build/coordinator/vistter" render "$1" --quiet --rate 25 --cache "$var/render-cache" --start "$2" \
        --frames "0..$(($3 + 1 - $2))" --hash "$var/offline"
    awk 'FILENAME ~ /offline$/ {right[$1] = $0; next} {if ($0 == right[$1]) there[$1] = 1; else other++}
        END {
            for (number in right) missing += !there[number]
            printf "mixed: %d frames missing, %d not as they should be at one edge\n", missing, other
            exit missing > 0
        }' "$var/offline" "$var/mixed-edge" "$var/mixed-edge2"
}
# What has come in at the servers together has every frame of that timeline once.
received_by_either() {
    nice -n 19 "$source/tests/farm/check_received.py" check --together --rows 0,60,120 --frames "$var/frames" "$var"/received/*/*.flv
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
