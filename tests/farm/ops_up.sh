#!/usr/bin/env bash
# ops/up, ops/down and ops/status as a stranger uses them: in a clone of their own, below a folder that
# only its owner may enter.
# Usage: ops_up.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
clone=$VISTTER_VAR/vistter
mkdir -p "$clone" "$VISTTER_VAR/tmp"
(cd "$source" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$clone" 2>/dev/null) || true
export -n VISTTER_VAR # var/ is where the clone is
export TMPDIR=$VISTTER_VAR/tmp
var=$clone/var run=$var/run pg_socket=$var/run/postgres pg_data=$var/postgres
pg_database="host=$pg_socket user=vistter dbname=vistter"

ops() { # verb flags...: its standard output and error go to files of that name
    local status=0
    "$clone/ops/$1" "${@:2}" >"$TMPDIR/../out" 2>"$TMPDIR/../err" </dev/null || status=$?
    return $status
}
says() { grep -q "$1" "$TMPDIR/../out"; } # pattern
one_line() { [ "$(wc -l <"$TMPDIR/../err")" = 1 ] && grep -q "$1" "$TMPDIR/../err" && [ ! -s "$TMPDIR/../out" ]; } # pattern
refused() { local status=0; ops up --detach || status=$?; [ "$status" = 1 ] && one_line "$1"; } # pattern
pids() { for name in $programs; do ! alive "$name" || echo "$pid"; done; }
# Every program has a session of its own, which its children are in.
sessions_of() { ps -o sid= -p "$(paste -sd, "$1")" | tr -d ' ' | sort; } # file of pids
left_over() { ps -o stat=,pid=,args= --sid "$(paste -sd, "$1")" | grep -v '^Z'; }
outside_var() { (cd "$clone" && find . -path ./var -prune -o -print | sort); }
mixed() { counter demo frames; }
goes_on() { [ "$(mixed)" -gt "$1" ]; } # frames

# What cannot work is said in one line, before anything slow.
hold_port() { python3 -c 'import socket, sys, time
s = socket.socket(type=socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[2])))
sys.argv[1] == "tcp" and s.listen()
print(flush=True)
time.sleep(600)' "$@"; }
for case in "tcp $VISTTER_PREVIEW VISTTER_PREVIEW" "udp $((VISTTER_FRAMES + 2)) VISTTER_FRAMES"; do
    read -r protocol port variable <<<"$case"
    exec 5< <(hold_port "$protocol" "$port")
    holder=$!
    read -r _ <&5
    check "port $port in use" refused "port $port is in use .*$variable"
    kill "$holder"
done
VISTTER_HTTP=eighty check "no port" refused "VISTTER_HTTP: eighty is not a port"
if [ "$(id -u)" = 0 ]; then
    mkdir "$VISTTER_VAR/small"
    mount -t tmpfs -o size=64m tmpfs "$VISTTER_VAR/small"
    (export VISTTER_VAR=$VISTTER_VAR/small; refused "small has 64 MiB left") && full=said || full=
    umount "$VISTTER_VAR/small"
    check "full disk" [ "$full" = said ]
fi
# Whoever interrupts the installation of packages finds the machine's services as they were.
interrupted() (
    . "$clone/ops/lib/common.sh"
    policy=$VISTTER_VAR/policy
    as_root() { "$@"; }
    dpkg-query() { :; } # nothing is installed
    apt-get() { [ -x "$policy" ] && kill -INT $BASHPID; }
    install_packages build
)
status=0
interrupted >"$VISTTER_VAR/out" 2>&1 || status=$?
check "interrupted while packages are installed" [ $status = 130 ]
check "services may start again" [ ! -e "$VISTTER_VAR/policy" ]

outside_var >"$VISTTER_VAR/before"

# An ops/up that was interrupted left a channel without destinations, never started.
farm_prepare
pg_start
coordinator_start
wait_until 30 "the coordinator did not start" vistter status
vistter channel create demo --width 1280 --height 720 --rate 30 >/dev/null
farm_stop

check "up --detach" ops up --detach
check "on air" is_live demo
check "both destinations" [ "$(vistter --json destination list demo | jq length)" = 2 ]
check "ops/status" ops status
check "which shows six programs" [ "$(grep -c 'running, pid' "$TMPDIR/../out")" = 6 ]
check "and the stages" says encode
pids >"$VISTTER_VAR/first"
check "each program in a session of its own" [ "$(sessions_of "$VISTTER_VAR/first")" = "$(sort "$VISTTER_VAR/first")" ]

# A second one touches nothing that runs.
before=$SECONDS
check "second up" ops up
check "says that the farm runs" says "The farm ran before; started now: nothing"
check "within seconds" [ $((SECONDS - before)) -le 5 ]
check "same programs" [ "$(pids)" = "$(cat "$VISTTER_VAR/first")" ]
# What ends is started again, but not for ever.
worker2_runs_anew() { alive worker2 && [ "$pid" != "$ended" ]; }
watch_says() { grep -q "$1" "$var/log/watch.log"; } # pattern
for _ in 1 2 3; do
    alive worker2
    ended=$pid
    kill -KILL "$ended"
    wait_until 10 "worker2 was not started again" worker2_runs_anew
done
check "what ended is said" watch_says "worker2 has ended"
check "it is tried again" eval '! watch_says "FOUR TIMES"'
kill -KILL "$pid"
wait_until 10 "a worker that ends and ends is started again and again" watch_says "worker2 HAS ENDED FOUR TIMES"
check "it stays away" eval '! alive worker2'
check "third up" ops up
check "starts what has ended" says "started now: worker2"
check "all are there" farm_is_whole

# What the user stopped stays stopped. A number of a program that has ended is somebody else's now.
vistter channel stop demo >/dev/null
wait_until 30 "demo did not stop" is_stopped demo
pids >"$VISTTER_VAR/second"
stop watch
stop edge
sleep 600 &
stranger=$!
echo $stranger >"$run/edge.pid"
echo "1 $boot_id" >"$run/edge.since"
check "down" ops down
check "a stranger lives on" kill -0 $stranger
kill $stranger
check "nobody watches" eval '! alive watch'
check "nothing left by ops/down" [ -z "$(left_over "$VISTTER_VAR/second")" ]
check "up after a stop" ops up --detach
check "says that demo is stopped" says "demo channel is not on air"
check "and leaves it so" is_stopped demo
vistter channel start demo demo >/dev/null
wait_until 60 "demo did not come on air again" is_live demo
check "down again" ops down

# In the foreground, until Ctrl-C, which people press twice.
set -m
"$clone/ops/up" >"$VISTTER_VAR/out" 2>"$VISTTER_VAR/err" </dev/null &
up=$!
set +m
wait_until 60 "ops/up in the foreground did not come on air" says "Ctrl-C stops"
check "resumes what was on air" is_live demo
frames=$(mixed)
check "a second up beside it" ops up
alive worker1
kill -KILL "$pid"
wait_until 10 "nobody noticed that worker1 ended" says "worker1 has ended"
wait_until 10 "worker1 was not started again" alive worker1
wait_until 30 "the channel did not go on" goes_on $((frames + 60))
pids >"$VISTTER_VAR/third"
kill -INT -- -$up
pause 0.3
kill -INT -- -$up 2>/dev/null || true
status=0
wait $up || status=$?
check "Ctrl-C ends it well ($status)" [ $status = 0 ]
check "nothing left by Ctrl-C" [ -z "$(left_over "$VISTTER_VAR/third")" ]
check "nothing outside var" diff "$VISTTER_VAR/before" <(outside_var)
check "nothing in the folder for temporary files" [ -z "$(ls -A "$TMPDIR")" ]
