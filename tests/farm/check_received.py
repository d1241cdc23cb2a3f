#!/usr/bin/env python3
"""Looks at what a receiver got, by the pictures and the sound themselves; shares no code with the programs it checks.

Pictures carry rows of 42 blocks over their full width: white, black, 32 bits of a frame number, its CRC-8 (polynomial
7). One row for each group of layers, so that a picture made of different frames is seen. Sound is made by "sound": a
tone of 20 ms each second, its pitch by the second, and between them chirps that differ from one 50 ms to the next for
eight seconds: so each 10 ms of it say where in the programme they belong. It starts with frame 0 of the pictures.

check_received.py sound OUT.wav             eight seconds of it, to be repeated
check_received.py check [OPTIONS] FILE...   prints a line for each file, and one for all
  --rate N          frames a second (25)
  --rows Y,Y,...    where rows begin (0)
  --height N        of a row (14)
  --frames OUT      every picture: its file, its time in seconds, the numbers of its rows; and where sound is wrong
  --together        pictures and sound may be in any one of the files: "lost" of all is what none of them has, and sound
                    that is bad or missing in one is no fault where another has it

Counted are, from the first frame to the last: pictures of which a row cannot be read; frames lost; repeated, that
is, the one before once more; back, that is, older than the one before; torn, that is, with rows that differ. The gap
is the longest time from one picture to the next. AV is by how much sound is late. Sound is bad in pieces of 10 ms that
are not what belongs there, missing where its time stamps have a hole, and slips where later sound is by more than
2 ms earlier or later than it was. Exit status 1: anything but zeros, or more than 10 ms between sound and picture.
"""
import argparse
import array
import math
import operator
import os
import statistics
import struct
import subprocess
import sys
import tempfile

SAMPLES = 48000            # a second
STEP = 6                   # one sample of so many is compared: there is nothing above 3.5 kHz
PERIOD = 8 * SAMPLES
PIECE = SAMPLES // 100     # 10 ms
CODED = 1024               # samples in a coded frame: all files have the same
AV_MOST = 10.0             # ms
BLOCKS = 42


# ---- Sound --------------------------------------------------------------------------------------
def programme_sound():
    """Eight seconds of it, -1 to 1."""
    seed, sweeps = 1, []
    while len(sweeps) < 160:
        seed = (seed * 1103515245 + 12345) % 2**31
        start, end = 500 + (seed >> 8) % 3000, 500 + (seed >> 20) * 3000 // 2048
        if abs(end - start) >= 1200:
            sweeps.append((start, end))
    sound = []
    for second in range(8):
        for n in range(SAMPLES):
            t = n / SAMPLES
            if t < 0.02:
                sound.append(0.5 * math.sin(2 * math.pi * (1000 + 250 * second) * t))
                continue
            sweep = int(t * 20)
            start, end = sweeps[second * 20 + sweep]
            t -= sweep / 20
            sound.append(0.2 * math.sin(2 * math.pi * (start * t + (end - start) * 10 * t * t)))
    return sound


def write_sound(name):
    data = b"".join(struct.pack("<hh", value, value) for value in (round(32000 * v) for v in programme_sound()))
    with open(name, "wb") as out:
        out.write(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " +
                  struct.pack("<IHHIIHH", 16, 1, 2, SAMPLES, SAMPLES * 4, 4, 16) + b"data" + struct.pack("<I", len(data)))
        out.write(data)


def likeness(a, b):
    """Of two pieces: 1 the same but for their loudness, 0 nothing in common; and how loud a is beside b."""
    product, own, other = (sum(map(operator.mul, x, y)) for x, y in ((a, b), (a, a), (b, b)))
    return (product / math.sqrt(own * other) if own and other else 0.0), (product / other if other else 0.0)


class Listener:
    """Follows how late the sound of one file is, in samples."""

    def __init__(self):
        sound = programme_sound()
        self.expected = sound + sound[:PERIOD // 2]
        self.late = None

    def likeness(self, piece, at, late):
        at = (at - late) % PERIOD
        like, loud = likeness(piece, self.expected[at:at + len(piece) * STEP:STEP])
        return like, loud, late

    def listen(self, piece, at):
        """`at`: where in the programme it would belong. True: it is what was expected, about as late as before."""
        if self.late is None:
            return False
        best = self.likeness(piece, at, self.late)
        if best[0] < 0.95:  # time stamps are whole milliseconds
            best = max(self.likeness(piece, at, self.late + d) for d in range(-48, 49, 3))
        if best[0] < 0.7 or not 0.7 < best[1] < 1.4:
            return False
        self.late = best[2]
        return True

    def search(self, piece, at, reach):
        """How late it is, up to `reach` samples either way; None: it belongs nowhere there. Takes a longer piece."""
        around = max(self.likeness(piece, at, late) for late in range(-reach, reach + 1, 3))[2]
        best = max(self.likeness(piece, at, late) for late in range(around - 3, around + 4))
        return best[2] if best[0] > 0.85 else None


# ---- One file -----------------------------------------------------------------------------------
class Received:
    def __init__(self):
        self.frames = 0
        self.numbers = set()
        self.unreadable = self.repeated = self.back = self.torn = self.slips = self.bad = 0
        self.gap = self.missing = 0.0   # ms
        self.av = []                    # least and most, ms
        self.heard = set()              # first samples of coded frames of sound that are what belongs there

    def lost(self):
        return max(self.numbers) - min(self.numbers) + 1 - len(self.numbers) if self.numbers else 0

    def add(self, other):
        self.numbers |= other.numbers
        self.heard |= other.heard
        for name in ("frames", "unreadable", "repeated", "back", "torn", "slips", "bad", "missing"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.gap = max(self.gap, other.gap)
        self.hear(other.av)

    def unheard(self):
        """Coded frames of sound between the first and the last that no file has right."""
        places = sorted(self.heard)
        return sum(max(0, round((b - a) / CODED) - 1) for a, b in zip(places, places[1:]))

    def hear(self, values):
        if values:
            self.av = [min(self.av + values), max(self.av + values)]

    def __str__(self):
        span = f" ({min(self.numbers)} to {max(self.numbers)})" if self.numbers else ""
        av = f"AV {self.av[0]:.1f} to {self.av[1]:.1f} ms" if self.av else "no sound"
        return (f"frames {self.frames}{span}, unreadable {self.unreadable}, lost {self.lost()}, repeated {self.repeated}, "
                f"back {self.back}, torn {self.torn}, max gap {self.gap:.0f} ms, {av}, sound bad {self.bad * 10} ms, "
                f"missing {self.missing:.0f} ms, slips {self.slips}")

    def good(self, together=False):
        sound = (self.unheard(),) if together else (self.bad, round(self.missing))
        faults = (self.lost(), self.unreadable, self.repeated, self.back, self.torn, self.slips, *sound)
        return self.numbers and not any(faults) and self.av and max(map(abs, self.av)) <= AV_MOST


def crc8(number):
    crc = 0
    for byte in number.to_bytes(4, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


def read_row(picture, width, top, height):
    """The number in a row; None: it cannot be read. The middle half of each block, of three lines, counts."""
    bits = 0
    for i in range(BLOCKS):
        left, right = width * i / BLOCKS, width * (i + 1) / BLOCKS
        a, b = math.ceil(left + (right - left) / 4), math.floor(right - (right - left) / 4)
        light = 0
        for y in (top + height // 2 - 1, top + height // 2, top + height // 2 + 1):
            light += sum(picture[y * width + a:y * width + b])
        bits = bits << 1 | (light > 125 * 3 * (b - a))
    number = bits >> 8 & 0xFFFFFFFF
    return number if bits >> 40 == 2 and bits & 0xFF == crc8(number) else None


def stamps(name):
    """(time in seconds, bytes) of each frame, by ffmpeg's framecrc."""
    base, found = None, []
    if not os.path.exists(name):
        return found
    with open(name) as lines:
        for line in lines:
            if line.startswith("#tb"):
                base = [int(x) for x in line.split(":")[1].split("/")]
            elif not line.startswith("#"):
                words = line.split(",")
                found.append((int(words[2]) * base[0] / base[1], int(words[4])))
    return found


def decode(name, folder):
    """Pictures come as bytes on standard output. In the folder: time stamps of pictures and of pieces of sound, samples."""
    through = ["-fps_mode", "passthrough"]
    return subprocess.Popen(
        ["ffmpeg", "-v", "fatal", "-nostdin", "-copyts", "-fflags", "+discardcorrupt", "-i", name,
         "-map", "0:v:0", *through, "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1",
         "-map", "0:v:0", *through, "-pix_fmt", "gray", "-c:v", "rawvideo", "-f", "framecrc", folder + "/pictures",
         "-map", "0:a:0?", "-ac", "1", "-ar", str(SAMPLES), "-f", "s16le", folder + "/sound",
         "-map", "0:a:0?", "-ac", "1", "-ar", str(SAMPLES), "-c:a", "pcm_s16le", "-f", "framecrc", folder + "/pieces"],
        stdout=subprocess.PIPE)


def samples_of(folder):
    samples = array.array("h")
    if os.path.exists(folder + "/sound"):
        with open(folder + "/sound", "rb") as file:
            samples.frombytes(file.read())
    return samples


def size_of(name):
    words = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height", "-of",
                            "csv=p=0", name], stdout=subprocess.PIPE, check=False, text=True).stdout.split()
    size = tuple(int(x) for x in words[0].strip(",").split(",")) if words else (0, 0)
    return size if all(size) else None


def watch(name, options, out):
    received = Received()
    size = size_of(name)
    if not size:
        received.unreadable += os.path.getsize(name) > 10000  # less is a connection that brought nothing
        return received
    width, height = size
    with tempfile.TemporaryDirectory() as folder:
        decoder = decode(name, folder)
        seen = []
        while len(picture := decoder.stdout.read(width * height)) == width * height:
            seen.append([read_row(picture, width, top, options.height) for top in options.rows])
        decoder.wait()
        times = [time for time, _ in stamps(folder + "/pictures")]
        look(received, name, list(zip(times, seen)), out)
        whole = [(time, rows[0]) for time, rows in zip(times, seen) if len(set(rows)) == 1 and rows[0] is not None]
        received.unreadable += not seen and os.path.getsize(name) > 10000
        samples = samples_of(folder)
        if whole and samples:
            wrong = hear(received, whole, stamps(folder + "/pieces"), samples, options.rate)
            if out:
                out.writelines(f"{name} {at:.3f} sound {what}\n" for at, what in wrong)
    return received


def look(received, name, pictures, out):
    last = last_time = None
    for time, rows in pictures:
        received.frames += 1
        if last_time is not None:
            received.gap = max(received.gap, (time - last_time) * 1000)
        last_time = time
        if out:
            out.write(f"{name} {time:.3f} {' '.join('-' if r is None else str(r) for r in rows)}\n")
        if None in rows:
            received.unreadable += 1
        elif len(set(rows)) > 1:
            received.torn += 1
        else:
            number = rows[0]
            received.repeated += number == last
            received.back += last is not None and number < last
            received.numbers.add(number)
            last = number


def hear(received, pictures, pieces, samples, rate):
    """Returns where it is wrong, and how."""
    first, last = pictures[0][0], pictures[-1][0]
    zero = statistics.median(time - number / rate for time, number in pictures)  # when frame 0 would have been
    listener, position, due, wrong = Listener(), 0, None, []
    for time, size in pieces:
        count = size // 2
        if due is not None and abs(time - due) > 0.002:
            received.missing += abs(time - due) * 1000
            wrong.append((time, f"is {(time - due) * 1000:.1f} ms after its end"))
        due = time + count / SAMPLES
        right = first + 0.05 <= time <= last
        # Sound from before the first picture belongs to none, and what an encoder makes of its start is no sound yet.
        for start in range(0, count - PIECE + 1, PIECE):
            at = time + start / SAMPLES
            if at < first + 0.05 or at > last:
                right = False
                continue
            place = round((at - zero) * SAMPLES)
            piece = [value / 32000 for value in samples[position + start:position + start + 3 * PIECE:STEP]]
            if listener.listen(piece[:PIECE // STEP], place):
                received.hear([listener.late * 1000 / SAMPLES])
                continue
            right = right and listener.late is None  # where it begins it is looked for
            if len(piece) < 3 * PIECE // STEP:
                right = False
                break  # the last of it: too short to be looked for
            late = listener.search(piece, place, SAMPLES // 10)
            moved = late is not None and (listener.late is None or abs(late - listener.late) > SAMPLES // 500)
            if not moved:
                right = False
                received.bad += 1
                wrong.append((at, "is not what belongs here"))
                continue
            wrong.append((at, f"is {late * 1000 / SAMPLES:.1f} ms late from here on"))
            received.slips += listener.late is not None
            listener.late = late
            received.hear([late * 1000 / SAMPLES])
        position += count
        if right:
            received.heard.add(round((time - zero) * SAMPLES))
    return wrong


def check(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=25)
    parser.add_argument("--rows", type=lambda text: [int(y) for y in text.split(",")], default=[0])
    parser.add_argument("--height", type=int, default=14)
    parser.add_argument("--frames")
    parser.add_argument("--together", action="store_true")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args(arguments)
    out = open(options.frames, "w") if options.frames else None
    each = []
    for name in options.files:
        each.append(watch(name, options, out))
        if len(options.files) > 1:
            print(f"{name.rsplit('/', 1)[-1]}: {each[-1]}")
    total = Received()
    for received in each:
        total.add(received)
    if options.together:
        print(f"together: {total.unheard()} coded frames of sound that none has")
    print(total)
    good = total.good(True) if options.together else all(received.good() for received in each)
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["sound"] and len(sys.argv) == 3:
        write_sound(sys.argv[2])
    elif sys.argv[1:2] == ["check"]:
        sys.exit(check(sys.argv[2:]))
    else:
        sys.exit(__doc__)
