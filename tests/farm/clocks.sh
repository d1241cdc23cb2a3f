#!/usr/bin/env bash
# A farm of two of all there is, and clocks that go wrong: an edge's wall clock set by an hour and a day, and set back
# while the coordinator changes; that of the coordinator that leads, with a plan made meanwhile; that of PostgreSQL. All
# the time one edge's monotonic clock goes 500 ppm faster than its wall clock. What has come in at the platform's two
# addresses has every frame once, the two edges send each frame at the same time, and who leads changes once at most.
# Usage: clocks.sh BUILD_FOLDER SOURCE_FOLDER SHIM (tests/shim/clock_shim.c)
. "$2/tests/farm/lib.sh"
shim=$3

# What of a program's clocks is wrong: seconds of its wall clock, ppm of its monotonic one.
clock_set() { # program wall [ppm]
    python3 -c 'import struct, sys, time
sys.stdout.buffer.write(struct.pack("<qqq", int(sys.argv[1]) * 10**9, int(sys.argv[2]), time.monotonic_ns()))' "$2" "${3:-0}" 1<>"$var/clock-$1"
}
begin() { # program
    case $1 in
    primary | backup) part_start "$1" ;;
    *)
        [ -e "$var/clock-$1" ] || clock_set "$1" 0
        (export LD_PRELOAD="$var/clock_shim.so" CLOCK_SHIM="$var/clock-$1" && part_start "$1")
        ;;
    esac
}
clean_up() {
    [ -z "${watcher-}" ] || kill "$watcher" 2>/dev/null
    pair_clean_up
}
# PostgreSQL's user reads these.
chmod 755 "$var"
install -m 644 "$shim" "$var/clock_shim.so"
clock_set edge2 0 500
pair_on_air clocks postgres primary backup coordinator second worker1 worker2 edge edge2

# When each edge has mixed each frame, by this machine's own clock: frame, edge, nanoseconds.
python3 - "$var/mixed-edge" "$var/mixed-edge2" <<'PY' >"$var/times" &
import sys, time
files = [open(name, "rb") for name in sys.argv[1:]]
for f in files:
    f.seek(0, 2)
while True:
    for i, f in enumerate(files):
        for line in f.read().splitlines():
            if line.count(b" ") == 2:
                print(line.split()[0].decode(), i, time.monotonic_ns(), flush=True)
    time.sleep(0.001)
PY
watcher=$!
disown -a
# How much later the second edge is, ms: the median of so many frames of the first or the last.
apart() { # head|tail frames
    awk '{at[$1 " " $2] = $3; if (($1 " " 1 - $2) in at) printf "%d %.3f\n", $1, (at[$1 " " 1] - at[$1 " " 0]) / 1e6}' "$var/times" |
        "$1" -n "$2" | cut -d' ' -f2 | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
goes_on() { wait_until 30 "no frames after $1" either_mixed_to $(($(either_mixed) + 50)); } # for what
leads() { cat "$var/log/coordinator.log" "$var/log/second.log" | grep -c coordinator_leads; }
leader() { vistter --json status | jq -er '.coordinators[] | select(.state == "leads").name'; }
leads_now() { [ "$(leader)" = "$1" ]; }
somebody_leads() { [ -n "$(leader)" ]; }
follows() { vistter --json status | jq -e --arg name "$1" '.coordinators[] | select(.name == $name).state == "follows"'; }
alarm_says() { # edge seconds: how far its clock is said to be ahead
    vistter --json node list | jq -e --arg edge "$1" --argjson ms $(($2 * 1000)) '.[] | select(.name == $edge).alarms |
        if $ms == 0 then all(.[]; .code != "clock_stepped")
        else any(.[]; .code == "clock_stepped" and (.text | capture("(?<ms>-?[0-9]+) ms").ms | tonumber - $ms | fabs) < 100) end' >/dev/null
}
edge_clock() { # seconds: sets it; it is said within five seconds
    local at
    clock_set edge "$1"
    at=$(now_ms)
    wait_until 5 "no alarm within 5 s of a step to $1 s" alarm_says edge1 "$1"
    echo "F64 an edge's wall clock $1 s: said after $(($(now_ms) - at)) ms"
}
plan_epoch() { vistter --json channel status clocks | jq .plan_epoch; }
has_plan_after() { [ "$(plan_epoch)" -gt "$1" ] && is_live clocks; }
edits=0
# An edit comes on air soon, whatever the coordinator's clock says.
edit() { # what for
    local before at
    before=$(plan_epoch) edits=$((edits + 1)) at=$(now_ms)
    jq ".name = \"clocks $edits\"" "$var/clocks.json" >"$var/edit.json"
    vistter timeline put clocks "$var/edit.json" >/dev/null
    vistter channel update clocks clocks >/dev/null
    wait_until 15 "an edit is not on air $1" has_plan_after "$before"
    echo "$1: an edit is on air after $(($(now_ms) - at)) ms"
}

for seconds in 3600 -3600 86400; do
    edge_clock $seconds
    goes_on "an edge's clock was set"
done
check "F64: the edge's log says so" grep -q "clock_stepped .*difference_ms=3[56]" "$var/log/edge.log"
# Set back while its links wait: the coordinator that leads next has it.
edge_clock -3600
first=$(leader)
stop "$first" KILL
second=second
[ "$first" = coordinator ] || second=coordinator
wait_until 10 "nobody leads" leads_now $second
at=$(now_ms)
wait_until 20 "an edge whose clock was set back does not find the next leader" nodes_are 4
echo "F64 an edge's clock set back, another leader: it has all nodes $(($(now_ms) - at)) ms after its first answer"
edge_clock 0
begin "$first"
wait_until 20 "who was killed does not follow" follows "$first"
wait_until 30 "not protected" is_protected clocks
wait_until 30 "not on both addresses" is_fed clocks

leads=$(leads)
for seconds in 7200 -7200; do
    clock_set "$second" $seconds
    edit "F65 the leader's wall clock $seconds s"
done
clock_set "$second" 0
check "F65: no other coordinator led meanwhile" [ "$(leads)" = "$leads" ]
for seconds in 3600 -3600; do
    leads=$(leads)
    clock_set postgres $seconds
    goes_on "the database's clock was set"
    wait_until 10 "nobody leads" somebody_leads
    echo "F65 the database's wall clock $seconds s: leaders changed $(($(leads) - leads)) times"
    check "F65: once at most" [ $(($(leads) - leads)) -le 1 ]
done
wait_until 60 "not protected" is_protected clocks
edit "F65 the database's wall clock -3600 s"

began=$(apart head 75) ended=$(apart tail 75)
echo "F66 edges 500 ppm apart: $began ms at first, $ended ms after $(wc -l <"$var/times") frames of both"
within() { awk -v a="$1" -v most="$2" 'BEGIN {exit !(a != "" && a < most && a > -most)}'; }
check "F66: the edges send a frame within 10 ms" within "$ended" 10
kill "$watcher"
pair_off_air clocks
