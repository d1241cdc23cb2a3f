# Shared by the scripts in ops/. Sourced, with `set -eu` in force.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
var=${VISTTER_VAR:-$top/var}
build=${VISTTER_BUILD:-$top/build/release}
run=$var/run

say() { printf '%s\n' "$*"; }
die() {
    printf 'vistter: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "must run as root, or sudo must be installed: $*"
    fi
}

packages_of() { # section...
    local section
    for section; do
        awk -v want="[$section]" '/^\[/ {on = $0 == want; next} on && NF && !/^#/' "$top/ops/lib/packages"
    done
}

# Installs what is missing, and says what could not be had.
install_packages() {
    local missing=() name
    for name in $(packages_of "$@"); do
        # Node.js of another origin than Debian's brings npm along.
        if [ "$name" = npm ] && command -v npm >/dev/null; then continue; fi
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing ${#missing[@]} Debian packages"
    # The packages' own services (a system PostgreSQL cluster, nginx on port 80) are not to start.
    local log policy=/usr/sbin/policy-rc.d own_policy=
    log=$(mktemp)
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
        own_policy=yes
    fi
    local failed=
    { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || failed=yes
    [ -z "$own_policy" ] || as_root rm -f $policy
    if [ -n "$failed" ]; then
        grep -E '^(E|W):' "$log" | head -n 5 >&2 || true
        die "these Debian packages could not be installed: ${missing[*]} (whole log: $log)"
    fi
    rm -f "$log"
}

build_preset() { # preset
    local log
    log=$(mktemp)
    if ! { (cd "$top" && cmake --preset "$1" && cmake --build --preset "$1"); } >"$log" 2>&1; then
        grep -E 'error|FAILED|CMake Error' "$log" | head -n 20 >&2
        die "the build failed (whole log: $log)"
    fi
    rm -f "$log"
}

alive() { # name: is the program of this name, started by us, running?
    [ -s "$run/$1.pid" ] && kill -0 "$(cat "$run/$1.pid")" 2>/dev/null
}

start() { # name command...: starts a program in the background; output goes to var/log
    local name=$1
    shift
    alive "$name" && return 0
    "$@" >>"$var/log/$name.log" 2>&1 </dev/null &
    echo $! >"$run/$name.pid"
}

stop() { # name [signal]: asks, waits for the end, and insists after ten seconds
    local pid
    [ -s "$run/$1.pid" ] || return 0
    pid=$(cat "$run/$1.pid")
    if kill -"${2:-TERM}" "$pid" 2>/dev/null; then
        timeout 10 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$run/$1.pid"
}

wait_until() { # seconds description command...: polls a condition
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || die "$what"
        read -rt 0.2 <> <(:) || true
    done
}

port_free() { # port
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

need_port() { # port what
    port_free "$1" || die "port $1 is in use by another program; $2 needs it"
}

need_space() { # folder mebibytes
    local free
    free=$(df -Pm "$1" | awk 'NR == 2 {print $4}')
    [ "$free" -ge "$2" ] || die "$1 has $free MiB left; Vistter needs at least $2 MiB there"
}
