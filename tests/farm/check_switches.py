#!/usr/bin/env python3
"""Whether what a receiver got was switched as it was told: check_switches.py RECEIVED TAKES START

RECEIVED: 640 by 360, rows 0 to 30 are the channel's counter, rows 165 to 220 a camera's (make_camera.py), above the camera's
flash. TAKES: lines of JSON, {"at": channel frame, "camera": 1 to 4, "frames": of its transition}. START: the channel's first.

Prints what it found; exit status 1 if a frame is lost, repeated or cannot be read, another camera is seen than was taken, one
was never seen, or a flash and its beep are farther apart than half a frame and 5 ms.
"""
import json
import sys
import tempfile

from check_received import SAMPLES, decode, read_row, samples_of, stamps

WIDTH, HEIGHT, RATE = 640, 360, 25
AV_MOST = 0.025  # half a frame, since a camera's clock is not the channel's, and 5 ms for stamps and codecs


def receive(name, folder):
    """(time, counter, camera's row, whether it flashes) of each picture; the sound, and its first sample's time."""
    decoder, seen = decode(name, folder), []
    while len(picture := decoder.stdout.read(WIDTH * HEIGHT)) == WIDTH * HEIGHT:
        white = sum(picture[300 * WIDTH:301 * WIDTH]) > 160 * WIDTH
        seen.append((read_row(picture, WIDTH, 0, 30), read_row(picture, WIDTH, 180, 28), white))
    decoder.wait()
    pictures = [(time, *rest) for (time, _), rest in zip(stamps(folder + "/pictures"), seen)]
    return pictures, samples_of(folder), stamps(folder + "/pieces")[0][0]


def beeps(sound, zero):
    """When each begins, after at least half a second without one."""
    found, last = [], -SAMPLES
    for i, value in enumerate(sound):
        if abs(value) > 3000:
            if i - last > SAMPLES // 2:
                found.append(zero + i / SAMPLES)
            last = i
    return found


def main():
    takes, start = [json.loads(line) for line in open(sys.argv[2])], int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        pictures, sound, zero = receive(sys.argv[1], folder)
    lost = repeated = unreadable = wrong = 0
    last, cameras, cuts, flashes = None, set(), set(), []
    for time, number, row, white in pictures:
        if number is None:
            unreadable += 1
            continue
        if last is not None:
            repeated += number <= last
            lost += max(0, number - last - 1)
        last = number
        frame = start + number
        past = [t for t in takes if t["at"] <= frame]
        if not past or frame < past[-1]["at"] + past[-1]["frames"]:
            continue  # two are seen at once
        if row is None or row >> 24 != past[-1]["camera"]:
            wrong += 1
            print(f"frame {frame}: {'cannot be read' if row is None else row >> 24}, not {past[-1]['camera']}")
            continue
        cameras.add(row >> 24)
        cuts.add(past[-1]["at"])
        # Only where nothing is switched half a second before or after.
        calm = all(abs(frame - t["at"]) > RATE // 2 + t["frames"] for t in takes)
        if white and (row & 0xffffff) % RATE == 0 and calm:
            flashes.append((time, row >> 24))
    heard = beeps(sound, zero)
    apart = [(min((b - time for b in heard), key=abs), camera) for time, camera in flashes if heard]
    each = {c: [round(1000 * a, 1) for a, k in apart if k == c] for c in sorted(cameras)}
    print(f"{len(pictures)} pictures, {unreadable} unreadable, {lost} lost, {repeated} repeated; {len(cuts)} of {len(takes)} takes "
          f"seen, cameras {sorted(cameras)}; {wrong} frames of another camera")
    for camera, values in each.items():
        print(f"camera {camera}: {len(values)} flashes, sound late by {min(values, default=0)} to {max(values, default=0)} ms")
    good = (pictures and not lost + repeated + unreadable + wrong and len(cameras) == 4 and len(cuts) > len(takes) * 9 // 10 and
            all(each.values()) and all(abs(a) <= AV_MOST for a, _ in apart))
    sys.exit(0 if good else 1)


main()
