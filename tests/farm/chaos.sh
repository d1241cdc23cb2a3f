#!/usr/bin/env bash
# Two coordinators, three workers, two edges, PostgreSQL and the two RTMP servers of a platform: every three seconds one of
# them, at random, is killed or frozen, for a moment or for longer. What has come in at the platform's two addresses
# together has every frame once, by the numbers in its pictures and by its sound, and what the edges mixed is right.
#
# What nothing can hide is not done. Two workers are not struck at once, nor one before all groups have their standbys
# again: both copies of a group would be gone. Nor two edges, nor one before the other has mixed for five seconds: it has no
# whole GOP and no block of sound before. Nor two servers, nor one before both are fed. And an edge that is away for longer
# than five seconds has its address handed to the other, which is silent meanwhile: no server is struck while an edge is
# away, nor an edge for so long while a server is, and neither before both edges and both addresses are back. All else
# may overlap.
# Usage: chaos.sh BUILD_FOLDER SOURCE_FOLDER [SECONDS [SEED]]
. "$2/tests/farm/lib.sh"
seconds=${3:-300} seed=${4:-$RANDOM$RANDOM}

begin() { part_start "$1"; }
clean_up() {
    for name in "${!due[@]}"; do kill -CONT $(victims "$name") 2>/dev/null; done
    pair_clean_up
}
count_of() { wc -l <"$var/mixed-$1"; }

declare -A due blow mark=([edge]=0 [edge2]=0) # when who is away comes back, from what; how far an edge was when it did
others_are_there() { # name...
    local name
    for name; do [ -z "${due[$name]-}" ] || return 1; done
}
may_strike() { # name for-ms
    others_are_there "$1" || return 1
    case $1 in
    worker?) others_are_there worker1 worker2 worker3 && is_protected chaos ;;
    edge | edge2)
        local other=edge2
        [ "$1" = edge ] || other=edge
        others_are_there $other && [ "$(count_of $other)" -ge $((mark[$other] + 125)) ] && is_paired chaos || return 1
        if others_are_there primary backup; then is_fed chaos; else [ "$2" -lt 5000 ]; fi
        ;;
    primary | backup) others_are_there primary backup edge edge2 && is_paired chaos && is_fed chaos ;;
    esac
}
names=(worker1 worker2 worker3 coordinator second postgres edge edge2 primary backup)
signals=(KILL KILL STOP) absences=(300 300 2000 7000) strikes=0
victims() { # name: its process; of a database that is frozen all of them, or its sessions would go on
    cat "$run/$1.pid"
    [ "$1" != postgres ] || ps -o pid= --ppid "$(cat "$run/$1.pid")" || true
}
strike() {
    local name signal absence pid
    signal=${signals[RANDOM % 3]} absence=${absences[RANDOM % 4]}
    for _ in {1..20}; do
        name=${names[RANDOM % ${#names[@]}]}
        if may_strike "$name" "$absence" 2>/dev/null; then
            echo "frame $(either_mixed): $name gets $signal for $absence ms"
            kill -"$signal" $(victims "$name")
            due[$name]=$(($(now_ms) + absence)) blow[$name]=$signal strikes=$((strikes + 1))
            return
        fi
    done
}
bring_back() { # name
    [ -z "${mark[$1]-}" ] || mark[$1]=$(count_of "$1")
    if [ "${blow[$1]}" = KILL ]; then
        stop "$1" KILL
        begin "$1"
    else
        kill -CONT $(victims "$1")
    fi
    unset "due[$1]"
}
rage() { # seconds: a blow every three
    local name end next
    end=$(($(now_ms) + $1 * 1000)) next=0
    while [ "$(now_ms)" -lt "$end" ] || [ ${#due[@]} -gt 0 ]; do
        for name in "${!due[@]}"; do [ "${due[$name]}" -gt "$(now_ms)" ] || bring_back "$name"; done
        if [ "$(now_ms)" -ge "$next" ] && [ "$(now_ms)" -lt "$end" ]; then
            next=$(($(now_ms) + 3000))
            strike
        fi
        pause 0.05
    done
}

pair_on_air chaos postgres "${names[@]}"

RANDOM=$seed
echo "seed $seed"
rage "$seconds"
echo "$strikes blows"
pair_off_air chaos
