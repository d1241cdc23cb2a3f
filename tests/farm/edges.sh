#!/usr/bin/env bash
# Two edges make one channel: the same pictures, the same packets, to the two addresses of a platform. Each edge in turn
# is killed, one for a moment and one for good: what comes in at the other's address has every frame once, and a platform
# with one address sees nothing of a moment: its publisher outlives the edge. Then an edge is lost with its publishers,
# as with its host: the other takes its addresses before there is another plan. Both record.
# Usage: edges.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"

cat >"$var/pair.json" <<'JSON'
{"schema":"vistter.timeline/1","name":"pair","format":{"width":320,"height":180,"rate":"25"},"duration":250,
 "loop":true,"tracks":[{"clips":[{"kind":"pattern","start":0,"duration":250,
  "pattern":{"kind":"counter","tone":{"frequency":440,"level":-20}}}]}]}
JSON
begin() { # edge
    if [ "$1" = edge ]; then edge_start --hash-file "$var/mixed"; else edge2_start --hash-file "$var/mixed2"; fi
    disown -a
}
begun() { cat "$var/log/edge.log" "$var/log/edge2.log" | grep -c "publisher_begins .*backup" || true; }
has_begun() { [ "$(begun)" -gt "$1" ]; }
status_says() { vistter --json channel status pair | jq -e "$1" >/dev/null; }
destination_says() { vistter --json destination list pair | jq -e ".[] | select(.name == \"platform\") | $1" >/dev/null; }
# Reads an address from now on, packet by packet, as a platform would: stream, pts and checksum of each.
receive() { # address name [what the key ends in]
    ffmpeg -v error -nostdin -y -rw_timeout 10000000 -i "rtmp://127.0.0.1:$rtmp_port/$1/$key${3:-}" -c copy -flush_packets 1 \
        -f framehash -hash md5 "$var/$2.packets" 2>/dev/null </dev/null &
    receivers+=($!)
    disown -a
}
receivers=()
end_receivers() {
    for pid in "${receivers[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
    for pid in "${receivers[@]}"; do timeout 20 tail --pid="$pid" -f /dev/null || true; done
    receivers=()
}
clean_up() { end_receivers; }
packets() { awk -F', *' -v stream="$2" '$1 == stream {print $NF}' "$var/$1.packets" 2>/dev/null; } # name stream
count_of() { packets "$1" 0 | wc -l; }
has_received() { [ "$(count_of "$1")" -ge "$2" ]; } # name packets
last_mixed() { tail -n 1 "$var/$1" | cut -d' ' -f1; }
mixed_to() { [ "$(last_mixed "$1")" -ge "$2" ]; }
# Milliseconds between pictures: 40 each, whole, so that a lost or repeated one shows.
without_gap() { # name
    awk -F', *' '$1 == 0 {print $2}' "$var/$1.packets" | sort -n |
        awk 'NR > 1 && ($1 - last < 39 || $1 - last > 41) {bad++} {last = $1} END {exit bad > 0 || NR < 100}'
}

key=canary-$RANDOM$RANDOM
farm_of 1
mkdir -p "$var/recordings2"
chmod 711 "$var" && chmod 777 "$var/kept" # nginx writes there, as whom it likes
disown -a
begin edge2
wait_until 30 "the second edge did not join" nodes_are 3
printf %s "$key" >"$var/keys/stream.key"
printf %s "$key-single" >"$var/keys/single.key"
vistter timeline put pair "$var/pair.json" >/dev/null
vistter channel create pair --width 320 --height 180 --rate 25 >/dev/null
vistter destination add pair --name platform --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/live" \
    --backup-url "rtmp://127.0.0.1:$rtmp_port/backup" --key-file "$var/keys/stream.key" >/dev/null
vistter destination add pair --name single --kind rtmp --url "rtmp://127.0.0.1:$rtmp_port/kept" \
    --key-file "$var/keys/single.key" >/dev/null
vistter destination add pair --name archive --kind recording >/dev/null
vistter channel start pair pair >/dev/null
wait_until 60 "not on both addresses" destination_says '.state == "live" and .backup.state == "live"'
first=$(vistter --json channel status pair | jq -r .edge)
check "both edges make it" status_says '[.edge, .backup_edge] | sort == ["edge1", "edge2"]'
check "both record" [ "$(find "$var/recordings" "$var/recordings2" -name '*.part' | wc -l)" = 2 ]

# The same bytes at both addresses.
receive live first
receive backup second
wait_until 30 "no packets" has_received first 150
wait_until 30 "no packets at the backup address" has_received second 150
# What both got, from the first packet that the later one got on.
same_packets() { # stream
    local from
    for from in "first second" "second first"; do
        set -- "$1" $from
        packets "$2" "$1" | head -n 100 | tail -n 60 >"$var/some"
        if packets "$3" "$1" | tr '\n' ' ' | grep -qF "$(tr '\n' ' ' <"$var/some")"; then return 0; fi
    done
    return 1
}
check "the same pictures, byte for byte" same_packets 0
check "the same sound, byte for byte" same_packets 1
end_receivers

gops_say() { status_says ".gops | $1"; }
wait_until 20 "no GOPs are compared" gops_say ".compared >= 3"
# A recorder is killed: the next one recovers its file.
family() { printf %x-%x $(stat -c '%d %i' "$var/$1"); } # the edge's state folder
kill -KILL "$(pgrep -f "vistter-deliver recording-.* $(family edge)")"
recovered() { find "$var/recordings" -name '*.recovered.mkv' | grep -q .; }
wait_until 30 "the killed recorder's file was not recovered" recovered

# The first edge is killed and comes back, then is stopped and comes back: nobody misses anything, and no connection ends.
names=([1]=edge [2]=edge2)
epoch=$(vistter --json channel status pair | jq .plan_epoch)
publishers() { pgrep -f "vistter-deliver rtmp-[0-9]* $(family "edge${first#edge1}")" | sort | tr '\n' ' '; }
ours=$(publishers)
check "the first edge has two publishers ($ours)" [ "$(wc -w <<<"$ours")" = 2 ]
receive backup through
receive live same
receive kept lone -single
for name in through same lone; do wait_until 30 "no packets at $name" has_received $name 50; done
for signal in KILL TERM; do
    stop "${names[${first#edge}]}" $signal
    pause 1.5
    begin "${names[${first#edge}]}"
    wait_until 30 "not on both addresses again" destination_says '.state == "live" and .backup.state == "live"'
    for name in through same lone; do
        wait_until 30 "no more packets at $name" has_received $name $(($(count_of $name) + 75))
    done
done
end_receivers
check "every frame at the backup address" without_gap through
check "every frame at the first address" without_gap same
check "every frame at a single address" without_gap lone
check "the same publishers all the time" [ "$(publishers)" = "$ours" ]
check "no other plan" status_says ".plan_epoch == $epoch"

# The other dies for good: the first address misses nothing, and what is left feeds both.
second=$((3 - ${first#edge}))
receive live alone
wait_until 30 "no packets" has_received alone 50
stop "${names[$second]}" KILL
wait_until 40 "the edge that is left does not feed both" status_says '.backup_edge == "" and .plan_epoch > '"$epoch"
wait_until 30 "not on both addresses" destination_says '.state == "live" and .backup.state == "live"'
wait_until 30 "no more packets" has_received alone $(($(count_of alone) + 50))
end_receivers
check "every frame at the first address" without_gap alone
begin "${names[$second]}"
wait_until 60 "it does not come back" status_says '.backup_edge != ""'
wait_until 30 "not on both addresses" destination_says '.state == "live" and .backup.state == "live"'

# The first goes with all its processes. What the single address got until then is in one file, what it gets from the
# other edge in the next.
epoch=$(vistter --json channel status pair | jq .plan_epoch)
family=$(printf %x-%x $(stat -c '%d %i' "$var/edge${first#edge1}"))
kept() { find "$var/kept" -name '*.flv' | wc -l; }
has_kept() { [ "$(kept)" -gt "$files" ]; }
files=$(kept)
receive backup through_loss
wait_until 30 "no packets" has_received through_loss 50
lost_at=$EPOCHREALTIME
kill -KILL $(cat "$run/${names[${first#edge}]}.pid") $(pgrep -f "vistter-deliver .* $family")
wait_until 5 "nobody says that it is lost" status_says '.text == "'"$first"' is lost"'
said_at=$EPOCHREALTIME
wait_until 10 "the other edge does not take the single address" has_kept
check "before there is another plan" status_says ".plan_epoch == $epoch"
before=$(find "$var/kept" -name '*.flv' -printf '%T@ %p\n' | sort -n | tail -n 2 | head -n 1 | cut -d' ' -f2)
after=$(find "$var/kept" -name '*.flv' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
gap_ms=$(awk "BEGIN {print int(($(stat -c %.W "$after") - $(stat -c %.Y "$before")) * 1000)}")
echo "host lost: said after $(awk "BEGIN {print int(($said_at - $lost_at) * 1000)}") ms, $gap_ms ms without data at the single address"
check "a gap of at most 6 s there" [ "$gap_ms" -le 6000 ]
wait_until 10 "the other edge does not feed both" destination_says '.state == "live" and .backup.state == "live"'
stop "${names[${first#edge}]}"
begins=$(begun)
begin "${names[${first#edge}]}"
wait_until 30 "the one that is back takes no second address" has_begun "$begins"
wait_until 30 "not on both addresses" destination_says '.state == "live" and .backup.state == "live"'
end_receivers

# The second drains, where it is idle then, and comes back.
back=$(vistter --json channel status pair | jq -r .backup_edge)
works() { vistter --json node list | jq -e ".[] | select(.name == \"$back\") | .stages == []" >/dev/null; }
vistter node drain "$back" >/dev/null
wait_until 30 "it has work" works
wait_until 10 "not on both addresses" destination_says '.state == "live" and .backup.state == "live"'
vistter node resume "$back" >/dev/null
wait_until 30 "it makes nothing again" status_says ".backup_edge == \"$back\""
check "no GOP of the two edges differed without a reason" gops_say ".mismatched == 0"
check "the stream key is in no log" [ -z "$(grep -l "$key" "$var"/log/*.log)" ]
check "nor in an answer" [ -z "$(vistter --json status | grep "$key")" ]
start=$(vistter --json channel status pair | jq .start_frame)
vistter channel stop pair >/dev/null
wait_until 30 "the channel did not stop" is_stopped pair
end=$(last_mixed "mixed$(sed 's/edge1*//' <<<"$first")")
"$build/coordinator/vistter" render "$var/pair.json" --quiet --rate 25 --start "$start" \
    --frames "0..$((end + 1 - start))" --hash "$var/offline"
check "every frame was mixed by one or both, the right one" cmp "$var/offline" <(sort -nu "$var/mixed" "$var/mixed2" | awk -v end="$end" '$1 <= end')

# What both recorded is one recording of all of it: each frame once, by what its picture says of itself.
all_sealed() { ! find "$var/recordings" "$var/recordings2" -name '*.part' | grep -q .; }
wait_until 30 "the recordings were not sealed" all_sealed
merged() { "$build/coordinator/vistter" recording merge --json -o "$var/merged.mkv" "$var/recordings" "$var/recordings2" >"$var/merged.json"; }
check "the recordings of both edges are merged" merged
check "no frame and no sound is lacking, and no bytes differ" jq -e '.missing == [] and .silent == [] and .different == []' "$var/merged.json"
read -r from to frames < <(jq -r '.files[] | "\(.from) \(.to) \(.frames)"' "$var/merged.json")
check "each frame once ($from to $to: $frames)" [ "$((to + 1 - from))" = "$frames" ]
check "to the end of what was on air (frame $end)" [ "$to" -ge "$end" ]
ffmpeg -v error -xerror -nostdin -i "$var/merged.mkv" -map 0:a -f null - -map 0:v -vsync passthrough \
    -vf crop=320:14:0:0,scale=42:1:flags=area,format=gray -f rawvideo "$var/barcodes"
numbers() { # as engine/source/pattern.c draws them: white, black, 32 bits, 8 bits of CRC
    python3 - "$var/barcodes" "$((from - start))" "$frames" <<'PY'
import sys
strips, first, frames = open(sys.argv[1], "rb").read(), int(sys.argv[2]), int(sys.argv[3])
assert len(strips) == 42 * frames, len(strips) / 42
for i in range(frames):
    bits = [level > 128 for level in strips[42 * i : 42 * (i + 1)]]
    number = int("".join("01"[bit] for bit in bits[2:34]), 2)
    assert bits[0] and not bits[1] and number == (first + i) % 250, (i, number, (first + i) % 250)
PY
}
check "each picture is the one of its frame" numbers
