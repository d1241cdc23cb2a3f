#!/usr/bin/env python3
"""The checker is checked: faults are planted, one at a time, in five seconds of pictures and sound coded as a platform
would get them, and each is found and counted, by what was planted; what has none passes.
Usage: check_received_test.py
"""
import os
import re
import subprocess
import sys
import tempfile
import wave

WIDTH, HEIGHT, RATE, FRAMES, SAMPLES = 320, 180, 25, 125, 48000
ROWS = (0, 60, 120)
checker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_received.py")


def crc8(number):
    """By long division: the remainder of the number's 32 bits and 8 zeros."""
    rest = number << 8
    for bit in range(39, 7, -1):
        if rest >> bit & 1:
            rest ^= 0x107 << bit - 8
    return rest


def row(number):
    bits = f"10{number:032b}{crc8(number):08b}"
    return b"".join(bytes([235 if bit == "1" else 16]) * (WIDTH * (i + 1) // 42 - WIDTH * i // 42) for i, bit in enumerate(bits))


def picture(*numbers):
    """A row for each number, on a ground that changes from frame to frame as programmes do."""
    ground = bytes((x * 2 + numbers[0] * 3) % 200 + 16 for x in range(WIDTH))
    lines = [ground] * HEIGHT
    for top, number in zip(ROWS, numbers):
        lines[top:top + 14] = [row(number)] * 14
    return b"".join(lines)


def encode(folder, name, frames, sound):
    """`frames`: the three numbers of each picture; `sound`: 16-bit stereo."""
    with open(f"{folder}/video", "wb") as out:
        for numbers in frames:
            out.write(picture(*numbers))
    with open(f"{folder}/audio", "wb") as out:
        out.write(sound)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE),
         "-i", f"{folder}/video", "-f", "s16le", "-ar", str(SAMPLES), "-ac", "2", "-i", f"{folder}/audio", "-map", "0:v", "-map", "1:a",
         "-c:v", "libx264", "-preset", "veryfast", "-b:v", "300k", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k", f"{folder}/{name}.flv"],
        check=True)
    return f"{folder}/{name}.flv"


failed = passed = 0


def expect(what, files, status, **counts):
    """`counts`: words of the last line, with the number that is to follow each, or a range."""
    global failed, passed
    run = subprocess.run([checker, "check", "--rows", "0,60,120", *(["--together"] if len(files) > 1 else []), *files],
                         stdout=subprocess.PIPE, check=False, text=True)
    line = run.stdout.splitlines()[-1]
    wrong = [] if run.returncode == status else [f"exit status {run.returncode}"]
    for name, value in counts.items():
        found = re.search(name.replace("_", " ") + r" (-?[0-9.]+)(?: to (-?[0-9.]+) ms)?", line)
        low, high = value if isinstance(value, tuple) else (value, value)
        if not found or not all(low <= float(x) <= high for x in found.groups() if x):
            wrong.append(name)
    if wrong:
        print(f"failed: {what} ({', '.join(wrong)}): {line}")
    failed, passed = failed + bool(wrong), passed + (not wrong)


with tempfile.TemporaryDirectory() as folder:
    subprocess.run([checker, "sound", f"{folder}/sound.wav"], check=True)
    with wave.open(f"{folder}/sound.wav") as file:
        eight = file.readframes(8 * SAMPLES)
    start = 130  # the first picture
    at = start * SAMPLES // RATE * 4
    sound = (eight * 2)[at:at + FRAMES * SAMPLES // RATE * 4]
    clean = [(start + n,) * 3 for n in range(FRAMES)]
    zeros = dict(unreadable=0, lost=0, repeated=0, back=0, torn=0, slips=0, bad=0, missing=0)

    def planted(what, pictures=None, audio=None, **counts):
        expect(what, [encode(folder, "one", pictures or clean, audio or sound)], 1, **{**zeros, **counts})

    expect("what has no fault passes", [encode(folder, "clean", clean, sound)], 0, **zeros, frames=FRAMES, AV=(-2, 2), max_gap=40)
    planted("a frame is lost, and time with it", clean[:30] + clean[31:], lost=1, frames=FRAMES - 1, AV=(38, 42))
    planted("a frame is shown again in place of another", clean[:60] + clean[59:60] + clean[61:], lost=1, repeated=1)
    planted("two frames are swapped", clean[:60] + [clean[61], clean[60]] + clean[62:], back=1)
    planted("a picture of two frames", clean[:60] + [(190, 190, 189)] + clean[61:], torn=1, lost=1)
    planted("a row that is none", clean[:60] + [(190, 190, 2**31 + 5)] + clean[61:70] + clean[71:], torn=1, lost=2)
    planted("sound 40 ms late", audio=b"\0" * (SAMPLES // 25 * 4) + sound, AV=(38, 42))
    planted("sound 40 ms early", audio=sound[SAMPLES // 25 * 4:], bad=(0, 10), AV=(-42, -38))
    hole = 3 * SAMPLES * 4 + 1000
    block = SAMPLES // 100 * 4
    planted("10 ms of sound lost", audio=sound[:hole] + sound[hole + block:], slips=1, bad=(0, 20), AV=(-12, 2))
    planted("10 ms of sound twice", audio=sound[:hole] + sound[hole - block:], slips=1, bad=(0, 20), AV=(-2, 12))
    planted("10 ms of silence", audio=sound[:hole] + bytes(block) + sound[hole + block:], bad=(10, 30))
    # Two receivers, each with a part.
    halves = [encode(folder, "first", clean[:75], sound[:3 * SAMPLES * 4]), encode(folder, "second", clean[50:], sound[2 * SAMPLES * 4:])]
    expect("what one lacks the other has", halves, 0, **zeros)
    halves[1] = encode(folder, "second", clean[77:], sound[77 * SAMPLES // RATE * 4:])
    expect("what both lack", halves, 1, **{**zeros, "lost": 2})
    silent = sound[:hole] + bytes(20 * block) + sound[hole + 20 * block:]
    pair = [encode(folder, "whole", clean, sound), encode(folder, "silent", clean, silent)]
    expect("sound that one lacks the other has", pair, 0, **{**zeros, "bad": (150, 250)})
    pair[0] = encode(folder, "whole", clean, silent)
    expect("sound that both lack", pair, 1, **{**zeros, "bad": (300, 500)})
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
