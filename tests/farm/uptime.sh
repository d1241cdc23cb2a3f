#!/usr/bin/env bash
# A farm of two of all there is on hosts that have been up for long: monotonic clocks, each in a time namespace, that pass
# 2^31 or 2^32 milliseconds while the channel is on air, or have passed both. What has come in at the platform's two
# addresses has every frame once, and each part that is stopped and started again then is part of it as before.
# Usage: uptime.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
[ "$(id -u)" = 0 ] && unshare -T true 2>/dev/null || { echo "time namespaces need root, and a kernel that has them" >&2; trap - EXIT; exit 77; }

uptime_s() { cut -d. -f1 /proc/uptime; }
after=25 # seconds from now until they pass
holders=()
declare -A prefix
host_up_for() { # seconds program...
    local holder ahead=$(($1 - $(uptime_s))) name
    shift
    unshare -T --monotonic=$ahead --boottime=$ahead sleep 600 &
    holder=$!
    holders+=("$holder")
    disown -a
    is_apart() { [ "$(readlink "/proc/$holder/ns/time_for_children")" != "$(readlink /proc/self/ns/time)" ]; }
    wait_until 5 "no time namespace" is_apart
    for name; do prefix[$name]="nsenter --time=/proc/$holder/ns/time_for_children"; done
}
eval "start_here() $(declare -f start | tail -n +2)"
start() { local name=$1; shift; start_here "$name" ${prefix[$name]-} "$@"; }
begin() { part_start "$1"; }
clean_up() {
    kill "${holders[@]}" 2>/dev/null
    pair_clean_up
}
half=2147484 whole=4294968 # 2^31 and 2^32 ms, in seconds
host_up_for $((half - after)) coordinator worker1
host_up_for $((whole - after)) edge
host_up_for $((half + whole)) edge2 second
host_up_for $((whole - after)) worker2
pair_on_air uptime postgres primary backup coordinator second worker1 worker2 edge edge2
for name in edge worker1; do
    alive $name
    check "$name has a clock of its own" [ "$(readlink "/proc/$pid/ns/time")" != "$(readlink /proc/self/ns/time)" ]
done
has_passed() { [ "$(nsenter --time="/proc/$1/ns/time_for_children" cut -d. -f1 /proc/uptime)" -gt $(($2 + 8)) ]; }
echo "on air $(($(nsenter --time="/proc/${holders[0]}/ns/time_for_children" cut -d. -f1 /proc/uptime) - half)) s after 2^31 ms (below 0: before)"
check "on air before the clocks have passed it" eval '! has_passed ${holders[0]} $((half - 8))'
wait_until 90 "the clocks do not pass 2^31 ms" has_passed "${holders[0]}" $half
wait_until 30 "the clocks do not pass 2^32 ms" has_passed "${holders[1]}" $whole
goes_on() { wait_until 30 "no frames after $1" either_mixed_to $(($(either_mixed) + 60)); } # for what
goes_on "the clocks had passed it"
# What begins after it, and who finds it again.
for name in worker1 edge; do
    stop $name KILL
    pause 1
    begin $name
    wait_until 60 "not protected with $name again" is_protected uptime
    wait_until 30 "not on both addresses with $name again" is_fed uptime
done
leader() { vistter --json status | jq -er '.coordinators[] | select(.state == "leads").name'; }
other_leads() { local name; name=$(leader) && [ -n "$name" ] && [ "$name" != "$1" ]; }
first=$(leader)
stop "$first" KILL
wait_until 10 "nobody leads" other_leads "$first"
goes_on "another coordinator led"
begin "$first"
pair_off_air uptime
