#!/usr/bin/env bash
# A farm of two of all there is, and what runs out: room on the database's disk, a worker's memory, then that of the
# coordinator that leads, its descriptors, and threads of a worker, an edge and the coordinator. What has come in at the
# platform's two addresses has every frame once; only who is short of it is concerned, says so, and goes on when there is
# more again.
# Usage: resources.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
if [ "$(id -u)" != 0 ]; then
    echo "control groups and file systems need root" >&2
    trap - EXIT
    exit 77
fi
tag=r$$
# Control groups, of either version.
group_of() { # controller program
    local root=/sys/fs/cgroup
    if [ -d "$root/$1" ]; then root=$root/$1; else echo "+$1" >"$root/cgroup.subtree_control" || true; fi
    mkdir -p "$root/$tag-$2"
    echo "$root/$tag-$2"
}
begin() { # program: its memory is counted from the start
    local group
    case $1 in
    worker? | coordinator | second)
        group=$(group_of memory "$1")
        (echo $BASHPID >"$group/cgroup.procs" && part_start "$1")
        ;;
    postgres) part_start postgres && small_disk ;;
    *) part_start "$1" ;;
    esac
}
clean_up() {
    local group
    [ -z "${crowd-}" ] || kill "$crowd" 2>/dev/null
    pair_clean_up
    umount "$var/disk" 2>/dev/null
    for group in /sys/fs/cgroup/"$tag"-* /sys/fs/cgroup/*/"$tag"-*; do rmdir "$group" 2>/dev/null; done
}

# The tables lie on a disk of their own.
small_disk() {
    ! mountpoint -q "$var/disk" || return 0
    mkdir -p "$var/disk"
    chmod 755 "$var"
    mount -t tmpfs -o size=48m,mode=711 vistter-test "$var/disk"
    pg_folder "$var/disk/tables"
    "$pg_bin/psql" -qAt -h "$pg_socket" -U vistter -d postgres -c "create tablespace small location '$var/disk/tables'" \
        -c "alter database vistter set tablespace small" >/dev/null
}
fill_disk() { dd if=/dev/zero of="$var/disk/filler" bs=4k 2>/dev/null || true; }

goes_on() { wait_until 30 "no frames after $1" either_mixed_to $(($(either_mixed) + 60)); } # for what
leader() { vistter --json status | jq -er '.coordinators[] | select(.state == "leads").name'; }
other_leads() { local name; name=$(leader) && [ -n "$name" ] && [ "$name" != "$1" ]; }
follows() { vistter --json status | jq -e --arg name "$1" '.coordinators[] | select(.name == $name).state == "follows"'; }
url_of() { if [ "$1" = coordinator ]; then echo "$server"; else echo "http://127.0.0.1:$VISTTER_HTTP2"; fi; }
others() { # name: who runs but this one
    local name
    for name in postgres coordinator second worker1 worker2 edge edge2; do
        [ "$name" = "${1-}" ] || ! alive "$name" || printf '%s ' "$name:$pid"
    done
}
# No page of the database holds it, and it does not get smaller by packing.
big_timeline() { # keyframes
    awk -v count="$1" -v seed="$RANDOM" 'BEGIN {srand(seed); for (i = 0; i < count; i++) print i, rand()}' |
        jq -cRn --slurpfile timeline "$var/resources.json" '[inputs | split(" ") | {at: .[0] | tonumber, value: .[1] | tonumber}] as $frames |
            $timeline[0] | .tracks[0].clips[0].opacity = {keyframes: $frames}'
}
put() { vistter timeline put resources "$1" >"$var/answer" 2>&1; } # file

pair_on_air resources postgres primary backup coordinator second worker1 worker2 edge edge2

# ---- F22: the database's disk is full -----------------------------------------------------------------
fill_disk
for n in 1 2 3 4 5 6 7 8; do # what is left in pages
    big_timeline 3000 >"$var/big.json"
    put "$var/big.json" || break
done
check "F22: an edit is refused in words ($(cat "$var/answer"))" grep -q "the database's disk is full" "$var/answer"
goes_on "the database's disk was full"
check "F22: somebody runs as coordinator" [ "$(others | grep -oE 'coordinator|second' | wc -l)" = 2 ]
rm "$var/disk/filler"
at=$(now_ms)
wait_until 10 "no edit when there is room again" put "$var/big.json"
echo "F22 an edit $(($(now_ms) - at)) ms after there is room"
vistter timeline put resources "$var/resources.json" >/dev/null

# ---- F60: no memory ------------------------------------------------------------------------------------
limit_of() { if [ -e "$1/memory.limit_in_bytes" ]; then echo "$1/memory.limit_in_bytes"; else echo "$1/memory.max"; fi; } # group
usage_of() { cat "$1/memory.usage_in_bytes" 2>/dev/null || cat "$1/memory.current"; }
kills() { awk '$1 == "oom_kill" {print $2}' "$1/memory.oom_control" "$1/memory.events" 2>/dev/null; }
is_gone() { ! alive "$1"; }
# Hardly more than it has, but for files that can be read again: it ends with the next larger thing that it does.
cap() { # program
    local group files
    group=$(group_of memory "$1")
    sync
    files=$(awk '$1 ~ /^(in)?active_file$/ {sum += $2} END {print sum + 0}' "$group/memory.stat")
    echo $(($(usage_of "$group") - files + 4194304)) >"$(limit_of "$group")"
}
uncap() { local group; group=$(group_of memory "$1"); echo 8000000000 >"$(limit_of "$group")"; }
# Another channel needs more than the worker may have.
jq '.format = {width: 960, height: 540, rate: "25"}' "$var/resources.json" >"$var/large.json"
vistter timeline put large "$var/large.json" >/dev/null
vistter channel create large --width 960 --height 540 --rate 25 >/dev/null
before=$(others worker1)
cap worker1
vistter channel start large large >/dev/null
wait_until 20 "the worker does not need more memory" is_gone worker1
check "F60: the kernel has ended it" [ "$(kills "$(group_of memory worker1)")" -ge 1 ]
vistter channel stop large >/dev/null
goes_on "a worker had no memory"
check "F60: nobody else has ended" [ "$(others worker1)" = "$before" ]
uncap worker1
stop worker1 KILL
begin worker1
wait_until 60 "not protected" is_protected resources
first=$(leader)
before=$(others "$first")
cap "$first"
big_timeline 250000 >"$var/big.json"
for n in $(seq 8); do curl -s -m 10 -X POST -H 'Content-Type: application/json' --data-binary @"$var/big.json" "$(url_of "$first")/api/v1/timelines/check" >/dev/null & done
wait_until 20 "the coordinator does not need more memory" is_gone "$first"
at=$(now_ms)
wait_until 10 "nobody leads" other_leads "$first"
echo "F60 a worker and the coordinator ended by the kernel; another leads after $(($(now_ms) - at)) ms"
check "F60: nobody else has ended" [ "$(others "$first")" = "$before" ]
uncap "$first"
stop "$first" KILL
begin "$first"
wait_until 20 "who was ended does not follow" follows "$first"

# ---- F62: no descriptors -------------------------------------------------------------------------------
first=$(leader)
alive "$first"
leads=$(cat "$var/log/coordinator.log" "$var/log/second.log" | grep -c coordinator_leads)
answers() { curl -fsS -m 1 "$(url_of "$first")/api/v1/status" >/dev/null 2>&1; }
prlimit --pid "$pid" --nofile=64:"$(ulimit -Hn)"
python3 - "$(url_of "$first")" <<'PY' &
import signal, socket, sys
host, port = sys.argv[1][7:].split(":")
crowd = []
for _ in range(200):
    try:
        crowd.append(socket.create_connection((host, int(port)), 1))
    except OSError:
        pass
print("F62", len(crowd), "connections", flush=True)
signal.pause()
PY
crowd=$!
disown -a
is_full() { [ "$(find "/proc/$(cat "$run/$first.pid")/fd" -mindepth 1 | wc -l)" -ge 64 ]; }
wait_until 10 "it has descriptors left" is_full
check "F62: it refuses" eval '! answers'
goes_on "no descriptors were left"
kill "$crowd"
at=$(now_ms)
until answers || [ $(($(now_ms) - at)) -gt 5000 ]; do pause 0.02; done
took=$(($(now_ms) - at))
echo "F62 a limit of 64: it answers $took ms after 200 clients have gone"
check "F62: within a second" [ "$took" -le 1000 ]
prlimit --pid "$pid" --nofile="$(ulimit -Sn)":"$(ulimit -Hn)"
check "F62: who leads has not changed" [ "$(cat "$var/log/coordinator.log" "$var/log/second.log" | grep -c coordinator_leads)" = "$leads" ]

# ---- F63: no threads -----------------------------------------------------------------------------------
starved="worker1 edge $first"
before=$(others)
wait_until 30 "not protected" is_protected resources
for name in $starved; do
    group=$(group_of pids "$name")
    alive "$name"
    echo "$pid" >"$group/cgroup.procs"
    cat "$group/pids.current" >"$group/pids.max"
done
plan_epoch() { vistter --json channel status resources | jq .plan_epoch; }
has_plan_after() { [ "$(plan_epoch)" -gt "$1" ] && is_live resources; }
epoch=$(plan_epoch)
jq '.name = "resources 2"' "$var/resources.json" >"$var/edit.json"
vistter timeline put resources "$var/edit.json" >/dev/null
vistter channel update resources resources >/dev/null || true
goes_on "no threads were left"
refused() { local name; for name in $starved; do [ "$(cat "$(group_of pids "$name")/pids.events" 2>/dev/null | awk '$1 == "max" {print $2}')" -gt 0 ] && return; done; }
check "F63: threads were refused" refused
check "F63: it is said" grep -qh "stage_refused .*no thread" "$var/log/worker1.log"
check "F63: nobody has ended" [ "$(others)" = "$before" ]
for name in $starved; do echo max >"$(group_of pids "$name")/pids.max"; done
at=$(now_ms)
wait_until 30 "the edit is not on air when there are threads again" has_plan_after "$epoch"
echo "F63 the edit is on air $(($(now_ms) - at)) ms after there were threads again"
pair_off_air resources
