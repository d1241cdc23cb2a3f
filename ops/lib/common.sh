# Shared by the scripts in ops/. Sourced, with `set -eu` in force.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
var=${VISTTER_VAR:-$top/var}
build=${VISTTER_BUILD:-$top/build/release}
run=$var/run
read -r boot_id </proc/sys/kernel/random/boot_id

say() { printf '%s\n' "$*"; }
die() {
    printf 'vistter: %s\n' "$*" >&2
    exit 1
}

# What is to be put right however the script ends, the newest first. A second Ctrl-C changes nothing.
at_exit_commands=()
at_exit() { at_exit_commands=("$1" "${at_exit_commands[@]}"); }
run_at_exit() {
    local status=$? command
    trap '' INT TERM HUP
    set +e
    for command in "${at_exit_commands[@]}"; do $command; done
    exit "$status"
}
trap run_at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "must run as root, or sudo must be installed: $*"
    fi
}

# The packages' own services (a system PostgreSQL cluster, nginx on port 80) are not to start.
policy=/usr/sbin/policy-rc.d
services_hold() {
    [ ! -e $policy ] || grep -q vistter $policy || return 0 # the machine has a policy of its own
    at_exit services_release
    printf '#!/bin/sh\n# ops/up of vistter, while it installs packages\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
}
services_release() {
    ! grep -qs vistter $policy || as_root rm -f $policy
}

packages_of() { # section...
    local section
    for section; do
        awk -v want="[$section]" '/^\[/ {on = $0 == want; next} on && NF && !/^#/' "$top/ops/lib/packages"
    done
}

missing_packages() { # section...
    local name
    for name in $(packages_of "$@"); do
        # Node.js of another origin than Debian's brings npm along.
        if [ "$name" = npm ] && command -v npm >/dev/null; then continue; fi
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

# Installs what is missing, and says what could not be had.
install_packages() { # section...
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} = 0 ] && return 0
    say "installing ${#missing[@]} Debian packages"
    local log=$top/build/packages.log service
    mkdir -p "$top/build"
    services_hold
    if ! { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        grep -E '^(E|W):' "$log" | head -n 5 >&2 || true
        die "these Debian packages could not be installed: ${missing[*]} (whole log: $log)"
    fi
    services_release
    # Nor do they start at the next boot.
    for service in nginx:nginx-light postgresql:postgresql-15; do
        [[ " ${missing[*]} " != *" ${service#*:} "* ]] || ! command -v systemctl >/dev/null ||
            as_root systemctl disable "${service%:*}" >/dev/null 2>&1 || true
    done
}

build_preset() { # preset
    [ -z "${VISTTER_BUILD:-}" ] || return 0 # built elsewhere
    local log=$top/build/$1.log
    mkdir -p "$top/build"
    if ! { (cd "$top" && cmake --preset "$1" && cmake --build --preset "$1"); } >"$log" 2>&1; then
        grep -E 'error|FAILED|CMake Error' "$log" | head -n 20 >&2
        die "the build failed (whole log: $log)"
    fi
}

# A process number is used again, at the latest after a reboot: with its start time and the boot it
# is one process for ever. Sets `since`; fails when no such process runs.
process_since() { # pid
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat##*) } # from the third field on
    [ "$1" != Z ] || return 1
    since="${20} $boot_id"
}

alive() { # name: is the program of this name, started by us, running? Sets `pid`.
    local since started
    { read -r pid <"$run/$1.pid" && read -r started <"$run/$1.since"; } 2>/dev/null &&
        process_since "$pid" && [ "$since" = "$started" ]
}

# Starts a program in the background, out of the terminal's reach: neither its Ctrl-C nor its end
# are the program's. Output goes to var/log.
started_names=
start() { # name command...
    local name=$1 pid since
    shift
    alive "$name" && return 0
    setsid "$@" >>"$var/log/$name.log" 2>&1 </dev/null 6>&- 9>&- &
    process_since $! && echo "$since" >"$run/$name.since"
    echo $! >"$run/$name.pid"
    started_names="$name $started_names"
}

pause() { read -rt "$1" <> <(:) || true; } # seconds; signals are heard

# Asks, waits for the end, and insists after ten seconds, on all that it started.
stop() { # name [signal]
    local pid signal=${2:-TERM} deadline=$((SECONDS + 10))
    [ "$1/$#" != postgres/1 ] || signal=INT # its fast shutdown
    ! alive "$1" || kill -"$signal" "$pid" 2>/dev/null || true
    while alive "$1"; do
        [ $SECONDS -lt $deadline ] || kill -KILL -- "-$pid" 2>/dev/null || true
        pause 0.05
    done
    rm -f "$run/$1.pid" "$run/$1.since"
}

stop_all() { # name...
    local name
    for name; do stop "$name"; done
}

# One script at a time changes what runs.
farm_lock() {
    mkdir -p "$run"
    exec 9>"$run/lock"
    flock -n 9 && return 0
    say "waiting for another script that starts or stops the farm"
    flock 9
}
farm_unlock() { exec 9>&-; }

wait_until() { # seconds description command...: polls a condition
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || die "$what"
        pause 0.2
    done
}

# Whether 127.0.0.1 could be listened on: the kernel's table has addresses and ports in hex.
port_free() { # tcp|udp port
    local listening=0A # the state of a listening TCP socket
    [ "$1" = tcp ] || listening=07
    ! cat "/proc/net/$1" "/proc/net/${1}6" 2>/dev/null | awk -v port="$(printf %04X "$2")" -v state=$listening '
        $4 == state && $2 ~ "^(0100007F|0+|0+FFFF00000100007F):" port "$" {found = 1}
        END {exit !found}'
}

# What lies on one file system is needed there together.
need_space() { # (folder mebibytes)...
    local folder
    while [ $# -gt 0 ]; do
        folder=$1
        until [ -e "$folder" ]; do folder=$(dirname "$folder"); done
        printf '%s %s %s\n' "$(df -Pm "$folder" | awk 'NR == 2 {print $4, $6}')" "$2" "$1"
        shift 2
    done | awk '
        {free[$2] = $1; need[$2] += $3; names[$2] = names[$2] " " $4}
        END {for (m in need) if (free[m] < need[m]) {print m, free[m], need[m], names[m]; exit}}' |
        {
            read -r mount free need names || exit 0
            die "the disk at $mount has $free MiB left; Vistter needs $need MiB there (for $names)"
        }
}
