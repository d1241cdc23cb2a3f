#!/usr/bin/env bash
# A farm of two of all there is, one of whose hosts has a disk of its own that goes wrong: what the first edge and a
# worker remember and the first edge's recordings are on it. It stalls, for moments, for five seconds with an edit under
# way, and for fifteen; then the host loses its power, and the disk what was not synced. What has come in at the
# platform's two addresses has every frame once; the two edges' recordings have every frame once together.
# Usage: disks.sh BUILD_FOLDER SOURCE_FOLDER
. "$2/tests/farm/lib.sh"
disk=$var/disk
disk_make() {
    mkdir -p "$disk"
    truncate -s 600M "$var/disk.image" # recordings need room for half an hour, or there is an alarm
    mkfs.ext4 -q -E lazy_itable_init=1 "$var/disk.image" 2>/dev/null && mount -o loop "$var/disk.image" "$disk"
}
mkdir -p "$var"
if [ "$(id -u)" != 0 ] || ! disk_make 2>/dev/null; then
    echo "a disk of its own needs root and loop devices" >&2
    trap - EXIT
    umount "$disk" 2>/dev/null || true
    rm -rf "$VISTTER_VAR"
    exit 77
fi
begin() { # program
    if [ "$1" = worker1 ]; then worker_start 1 --state-folder "$disk/worker"; else part_start "$1"; fi
    disown -a
}
stall() { fsfreeze -f "$disk"; }
unstall() { fsfreeze -u "$disk" 2>/dev/null; }
before_stop() { unstall; }
clean_up() {
    unstall
    pair_clean_up
    umount "$disk" 2>/dev/null
}
# The disk's last moment: what is in memory only is lost, the journal as it stands (EXT4_IOC_SHUTDOWN without a flush).
power_off() {
    python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))' "$disk"
}
mkdir -p "$var/recordings2"
mkdir -p "$disk/worker"
for name in edge recordings; do
    mkdir -p "$disk/$name"
    ln -s "$disk/$name" "$var/$name"
done
pair_on_air disks postgres primary backup coordinator second worker1 worker2 edge edge2
vistter destination add disks --name archive --kind recording >/dev/null
records() { find "$1/" -name '*.part' | grep -q .; }
both_record() { records "$var/recordings" && records "$var/recordings2"; }
wait_until 60 "not both record" both_record
goes_on() { wait_until 40 "no frames $1" either_mixed_to $(($(either_mixed) + $2)); } # when frames
plan_epoch() { vistter --json channel status disks | jq .plan_epoch; }
has_plan_after() { [ "$(plan_epoch)" -gt "$1" ] && is_live disks; }
alarms() { vistter --json status | jq -r '[.nodes[].alarms[].code, (.channels[].destinations[] | .error // empty)] | unique | join(" ")'; }
first=$(find "$var/recordings/" -name '*.part')

for _ in 1 2 3; do
    stall
    pause 1
    unstall
    pause 1
done
goes_on "after moments without the disk" 25
check "a disk that stalls for moments breaks no recording" [ -e "$first" ]

epoch=$(plan_epoch)
jq '.name = "disks 2"' "$var/disks.json" >"$var/edit.json"
stall
vistter timeline put disks "$var/edit.json" >/dev/null
vistter channel update disks disks >/dev/null
at=$(now_ms)
goes_on "while the disk stalls" 125
wait_until 20 "the edit is not on air while the disk stalls" has_plan_after "$epoch"
echo "the disk stalls $(($(now_ms) - at)) ms, the edit is on air; alarms: $(alarms)"
unstall
goes_on "after five seconds without the disk" 50

stall
at=$(now_ms)
goes_on "while the disk stalls" 375
said=$(alarms)
echo "the disk stalls $(($(now_ms) - at)) ms; alarms: $said"
check "it is said" [ -n "$said" ]
unstall
wait_until 60 "not both record again" both_record
goes_on "after fifteen seconds without the disk" 50

# The host of the first edge and a worker.
wait_until 60 "not protected" is_protected disks
family=$(printf %x-%x $(stat -c '%d %i' "$disk/edge"))
resumed() { cat "$var/log/edge.log" "$var/log/worker1.log" | grep -c 'state_resume epoch' || true; }
before=$(resumed)
power_off
cut=$(tail -n 1 "$var/mixed-edge" | cut -d' ' -f1)
kill -KILL $(pgrep -f "vistter-deliver .* $family") 2>/dev/null || true
for name in edge worker1; do stop $name KILL; done
unmounted() { umount "$disk"; }
wait_until 20 "the disk is still in use" unmounted
mount -o loop "$var/disk.image" "$disk"
for name in worker1 edge; do begin $name; done
wait_until 60 "not protected after the power cut" is_protected disks
wait_until 30 "not on both addresses after the power cut" is_fed disks
wait_until 30 "not both record after the power cut" both_record
check "edge and worker have found what they remembered" [ "$(resumed)" = $((before + 2)) ]
pair_off_air disks

all_sealed() { ! find "$var/recordings/" "$var/recordings2" -name '*.part' | grep -q .; }
wait_until 30 "the recordings were not sealed" all_sealed
# The last frame before the cut in what was recovered after it: files are called so by their first.
last_recorded() {
    find "$var/recordings/" -name '*.mkv' | while read -r file; do
        from=$(sed 's/.*disks-\([0-9]*\)-.*/\1/' <<<"$file")
        [ "$from" -gt "$cut" ] || echo $((from + $(ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0 "$file" | tr -dc 0-9) - 1))
    done | sort -n | tail -n 1
}
lost=$((cut - $(last_recorded)))
echo "the power cut took $lost frames of the edge's own recording, up to frame $cut"
check "two seconds at most" [ "$lost" -le 50 ]
merged() { "$build/coordinator/vistter" recording merge --json -o "$var/merged.mkv" "$var/recordings/" "$var/recordings2" >"$var/merged.json"; }
check "the recordings of both edges are merged" merged
check "no frame and no sound is lacking, and no bytes differ" jq -e '.missing == [] and .silent == [] and .different == []' "$var/merged.json"
