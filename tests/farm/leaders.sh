#!/usr/bin/env bash
# Two coordinators and a channel on air. The one that leads is killed, and another time frozen for six seconds: the other
# leads within four, and who wakes up follows. Then PostgreSQL's primary dies together with the leader, right after a
# commit that its replica has not received: the plan on air is written back with its epoch and frame, and no epoch is
# used twice. Every frame is there once, in time, and the right one.
# Usage: leaders.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"

timeline() { # name level of its tone
    cat >"$var/$1.json" <<JSON
{"schema":"vistter.timeline/1","name":"$1","format":{"width":320,"height":180,"rate":"25"},"duration":250,
 "loop":true,"tracks":[{"clips":[{"kind":"pattern","start":0,"duration":250,
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":$2}}}]}]}
JSON
}
url_of() { [ "$1" = coordinator ] && echo "$server" || echo "http://127.0.0.1:$VISTTER_HTTP2"; }
coordinators=127.0.0.1:$control_port,127.0.0.1:$VISTTER_CONTROL2
vistter() { "$build/coordinator/vistter" --server "$(url_of second),$server" "$@"; }

replica_socket=$run/replica
pg_database="host=$pg_socket,$replica_socket user=vistter dbname=vistter target_session_attrs=read-write"
begin() { # coordinator
    if [ "$1" = coordinator ]; then coordinator_start --name coordinator; else second_start; fi
    disown -a
}
# A replica that streams from the primary, until it is told not to.
replica_start() {
    chmod 755 "$var" "$run"
    pg_folder "$var/replica"
    pg_folder "$replica_socket"
    "${pg_user[@]}" "$pg_bin/pg_basebackup" -h "$pg_socket" -U vistter -D "$var/replica" -R -c fast
    start replica "${pg_user[@]}" "$pg_bin/postgres" -D "$var/replica" -k "$replica_socket" -h ''
    disown -a
    wait_until 20 "the replica did not start" sql "$replica_socket" "select 1"
}
sql() { "$pg_bin/psql" -qAt -h "$1" -U vistter -d vistter -c "$2"; } # socket-folder query
clean_up() { stop second; stop replica; }

# Who leads, as a coordinator knows; empty: it does not answer.
leader_by() { curl -fsS -m 2 "$(url_of "$1")/api/v1/status" 2>/dev/null | jq -r '.coordinators[] | select(.state == "leads").name'; }
leads_by() { [ "$(leader_by "$1")" = "$2" ]; } # as this one says, that one leads
other_of() { [ "$1" = coordinator ] && echo second || echo coordinator; }
follower_is_there() { vistter --json status | jq -e '[.coordinators[].state] == ["follows", "leads"] or [.coordinators[].state] == ["leads", "follows"]' >/dev/null; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
# Until the other one leads; says how long it took.
takes_over() { # leader what
    local begin took
    begin=$(now_ms)
    wait_until 20 "nobody took over when $1 $2" leads_by "$(other_of "$1")" "$(other_of "$1")"
    took=$(($(now_ms) - begin))
    echo "$1 $2: $(other_of "$1") leads after $took ms"
    check "within four seconds" [ "$took" -le 4000 ]
}
last_mixed() { tail -n 1 "$var/mixed" | cut -d' ' -f1; }
mixed_to() { [ "$(last_mixed)" -ge "$1" ]; }
plan_on_air() { vistter --json channel status chan | jq .plan_epoch; }
is_after() { [ "$(plan_on_air)" -gt "$1" ]; }
has_plan() { [ "$(plan_on_air)" = "$1" ]; }
replica_cut() { [ -z "$(sql "$pg_socket" "select 1 from pg_stat_replication")" ]; }
row_is_back() { [ "$(sql "$replica_socket" "select plan_epoch, at_frame from plans where plan_epoch = ${1%|*}")" = "$1" ]; }

timeline one -20
timeline two -30
farm_of 1 --name coordinator
disown -a
begin second
on_air chan "$var/one.json" --width 320 --height 180 --rate 25
vistter timeline put two "$var/two.json" >/dev/null
wait_until 20 "there are no two coordinators" follower_is_there

leader=$(leader_by second)
kill -KILL "$(cat "$run/$leader.pid")"
takes_over "$leader" "was killed"
stop "$leader" KILL
begin "$leader"
leader=$(other_of "$leader")
wait_until 20 "who was killed does not follow" leads_by "$(other_of "$leader")" "$leader"

rows=$(sql "$pg_socket" "select last_plan_epoch, last_at_frame from channels")
frozen=$(now_ms)
kill -STOP "$(cat "$run/$leader.pid")"
takes_over "$leader" "was frozen"
pause "$(awk -v left=$((6000 - $(now_ms) + frozen)) 'BEGIN {print left > 0 ? left / 1000 : 0.01}')"
kill -CONT "$(cat "$run/$leader.pid")"
wait_until 20 "who was frozen does not follow" leads_by "$leader" "$(other_of "$leader")"
check "who was frozen says that it follows" grep -q 'coordinator_follows' "$var/log/$leader.log"
check "it has committed nothing" [ "$(sql "$pg_socket" "select last_plan_epoch, last_at_frame from channels")" = "$rows" ]
leader=$(other_of "$leader")

# A commit that the replica does not get.
replica_start
sql "$replica_socket" "alter system set primary_conninfo = ''" >/dev/null
sql "$replica_socket" "select pg_reload_conf()" >/dev/null
wait_until 20 "the replica still streams" replica_cut
before=$(plan_on_air)
vistter channel update chan two >/dev/null
wait_until 30 "the other timeline did not come on air" is_after "$before"
lost=$(sql "$pg_socket" "select plan_epoch, at_frame from plans order by plan_epoch desc limit 1")
start_two=$(vistter --json channel status chan | jq .start_frame)
wait_until 30 "no frames of the other timeline" mixed_to $((start_two + 5))
kill -KILL "$(cat "$run/$leader.pid")"
stop postgres KILL
sql "$replica_socket" "select pg_promote()" >/dev/null
check "the replica had lost it" [ -z "$(sql "$replica_socket" "select 1 from plans where plan_epoch = ${lost%|*}")" ]
stop "$leader" KILL
wait_until 20 "nobody leads at the other primary" leads_by "$(other_of "$leader")" "$(other_of "$leader")"
wait_until 20 "the plan on air is not in the database" row_is_back "$lost"
begin "$leader"
wait_until 20 "there are no two coordinators" follower_is_there
check "it is on air as it was" has_plan "${lost%|*}"
check "the log says what is on air" [ "$(vistter --json channel status chan | jq -r '.timeline, .start_frame' | tr '\n' ' ')" = "two $start_two " ]
# The next plan has an epoch of its own.
vistter channel update chan chan >/dev/null
wait_until 30 "nothing new comes on air" is_after "${lost%|*}"
start_three=$(vistter --json channel status chan | jq .start_frame)
wait_until 30 "no frames of the newest plan" mixed_to $((start_three + 25))
check "nothing was noted" [ ! -s "$(echo "$var"/edge/as-run*.jsonl)" ]
first=$(head -n 1 "$var/mixed" | cut -d' ' -f1)
vistter channel stop chan >/dev/null
wait_until 30 "the channel did not stop" is_stopped chan
end=$(last_mixed)
render() { # timeline start end
    "$build/coordinator/vistter" render "$var/$1.json" --quiet --rate 25 --cache "$var/render-cache" --start "$2" \
        --frames "0..$(($3 - $2))" --hash "$var/part"
    cat "$var/part" >>"$var/offline"
}
render one "$first" "$start_two"
render two "$start_two" "$start_three"
render one "$start_three" $((end + 1))
check "every frame once, the right one" cmp "$var/offline" "$var/mixed"
