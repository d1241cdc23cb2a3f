# Hosts that are network namespaces, for farm tests: sourced after lib.sh, with "hosts" set to their names. The first has
# the address $subnet.1, and so on. What may go wrong between them and with them; all of it is put right by clean_up.
[ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] || { echo "network namespaces and their devices need root" >&2; trap - EXIT; exit 77; }
subnet=10.$((RANDOM % 200 + 20)).$((RANDOM % 250))
address() { # host
    local i
    for i in "${!hosts[@]}"; do [ "${hosts[$i]}" != "$1" ] || echo "$subnet.$((i + 1))"; done
}
on() { # host command...
    local host=$1
    shift
    ip netns exec "$tag-$host" "$@"
}

words=()
for host in "${hosts[@]}"; do
    ip netns add "$tag-$host"
    ip -n "$tag-$host" link set lo up
    words+=("$tag-$host=$(address "$host")")
done
mkfifo "$var/orders"
"$build/tests/relay/tun_relay" 1 "${words[@]}" <"$var/orders" >"$var/relay.out" &
relay=$!
exec 7>"$var/orders"
relay_said() { [ "$(grep -c "$1" "$var/relay.out")" -ge "$2" ]; }
wait_until 10 "the relay did not start" relay_said ready 1
for host in "${hosts[@]}"; do
    ip -n "$tag-$host" addr add "$(address "$host")/24" dev net0
    ip -n "$tag-$host" link set net0 up
    on "$host" tc qdisc add dev net0 ingress
done

# ---- What can be done to the network and the hosts ---------------------------------------------
# A filter's program is a list of classic BPF; 2 in the end is: throw away, 0: let pass.
filter() { # host program
    on "$1" tc filter replace dev net0 parent ffff: protocol all pref 1 handle 1 bpf da bytecode "$2"
}
number_of() { # host: its address
    printf '%d' "0x$(printf '%02x' $(address "$1" | tr . ' '))"
}
block() { # at from: what comes from there is lost
    filter "$1" "4,32 0 0 12,21 0 1 $(number_of "$2"),6 0 0 2,6 0 0 0"
}
lose() { # share at...: by chance
    local host limit
    limit=$(awk -v share="$1" 'BEGIN {printf "%.0f", share * 4294967295}')
    for host in "${@:2}"; do filter "$host" "4,32 0 0 4294963256,37 0 1 $limit,6 0 0 0,6 0 0 2"; done
}
lose_large() { # bytes at from
    filter "$2" "6,32 0 0 12,21 0 2 $(number_of "$3"),128 0 0 0,37 1 0 $1,6 0 0 0,6 0 0 2"
}
open() { # at...
    local host
    for host; do on "$host" tc filter del dev net0 parent ffff: 2>/dev/null || true; done
}
delay() { # ms jitter repeat-percent: on all lines
    local before
    before=$(grep -c done "$var/relay.out" || true)
    echo "* * $1 $2 $3" >&7
    wait_until 5 "the relay did not obey" relay_said done $((before + 1))
}
hold() { # host folder: all its processes into a group
    local pid
    for pid in $(ip netns pids "$tag-$1"); do echo "$pid" >"$2/cgroup.procs" || true; done
}
freeze() { # host
    local group
    group=$(group_of freezer)
    hold "$1" "$group"
    if [ -e "$group/freezer.state" ]; then echo FROZEN >"$group/freezer.state"; else echo 1 >"$group/cgroup.freeze"; fi
}
thaw() {
    local group
    group=$(group_of freezer)
    if [ -e "$group/freezer.state" ]; then echo THAWED >"$group/freezer.state"; else echo 0 >"$group/cgroup.freeze"; fi
}
starve() { # host share: of what it takes
    local group
    group=$(group_of cpu)
    hold "$1" "$group"
    ration "$2"
}
feed() { ration -1; }

clean_up() {
    local host
    thaw 2>/dev/null
    feed 2>/dev/null
    exec 7>&-
    kill $relay 2>/dev/null
    for host in "${hosts[@]}"; do ip netns del "$tag-$host" 2>/dev/null; done
    groups_remove
}

# ---- Programs on them ---------------------------------------------------------------------------
begin() { # name host command...
    local host=$2
    start "$1" ip netns exec "$tag-$host" "${@:3}"
}
vistter() { on coord timeout 5 "$build/coordinator/vistter" --server "http://$subnet.1:8080" "$@"; }
