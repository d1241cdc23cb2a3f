#!/usr/bin/env python3
"""Checks H.264 as a receiver sees it, from what ffmpeg's trace_headers prints about it on standard input.

Every GOP has the length given and starts at an IDR picture; it is closed (nothing after the IDR picture is shown
before it) and has no other intra picture. With the number n of the first picture, GOPs start at n mod G = 0, but for
the first, which starts where the encoder did. In each GOP the pictures pass through the buffer that the stream itself
declares (H.264 Annex C, constant bit rate): none is late, and the buffer never overflows, which is what filler is
for. Prints one line per fault and a summary.
Usage: check_stream.py FRAMES_PER_GOP FRAMES_PER_SECOND [FIRST_FRAME] < trace
"""
import re
import sys

gop_frames, rate = int(sys.argv[1]), float(sys.argv[2])
first_frame = int(sys.argv[3]) if len(sys.argv) > 3 else None
packet_line = re.compile(r"Packet: (\d+) bytes,( key frame,)? pts (-?\d+), dts (-?\d+)")
field_line = re.compile(r"\] \d+ +(\w+(?:\[0\])?) +[01]* ?= (-?\d+)")
hrd, packets = {}, []
for line in sys.stdin:
    if found := packet_line.search(line):
        packets.append({"bytes": int(found[1]), "key": bool(found[2]), "pts": int(found[3]), "units": [], "slices": set()})
    elif found := field_line.search(line):
        name, value = found[1], int(found[2])
        if name.startswith(("bit_rate", "cpb_size", "cbr_flag")):
            hrd[name] = value
        elif name == "nal_unit_type" and packets:
            packets[-1]["units"].append(value)
        elif name == "slice_type" and packets:
            packets[-1]["slices"].add(value % 5)
        elif name == "initial_cpb_removal_delay[0]":
            packets[-1]["delay"] = value

faults = 0


def fault(text):
    global faults
    faults += 1
    if faults <= 10:
        print(text)


# E.2.2: rate and size of the buffer; E.2.2 again: cbr_flag.
bit_rate = (hrd["bit_rate_value_minus1[0]"] + 1) << (6 + hrd["bit_rate_scale"])
size = (hrd["cpb_size_value_minus1[0]"] + 1) << (4 + hrd["cpb_size_scale"])
if hrd["cbr_flag[0]"] != 1:
    fault("the stream does not say that its rate is constant")

INTRA = 2  # table 7-6
keys = [i for i, p in enumerate(packets) if p["key"]]
if not keys or keys[0] != 0:
    fault("the first picture is no key picture")
for i, p in enumerate(packets):
    if p["key"] != (5 in p["units"]):
        fault(f"packet {i}: key {p['key']}, NAL units {p['units']}")
    if not p["key"] and INTRA in p["slices"]:
        fault(f"packet {i}: an intra picture inside a GOP")

least = most = None
for first, last in zip(keys, keys[1:]):
    gop = packets[first:last]
    if first_frame is not None and (first_frame + last) % gop_frames:
        fault(f"a GOP starts at frame {first_frame + last}")
    if len(gop) != gop_frames and (first or first_frame is None):
        fault(f"packet {first}: a GOP of {len(gop)} pictures")
    if min(p["pts"] for p in gop) < gop[0]["pts"]:
        fault(f"packet {first}: a picture is shown before its GOP's first")
    # C.1: bits arrive at bit_rate from time 0; picture k goes at delay + k / rate. FLV has four bytes before each NAL
    # unit where the buffer has three or four.
    delay, total, slack = gop[0]["delay"] / 90000, 0, 0
    for k, p in enumerate(gop):
        arrived = bit_rate * (delay + k / rate)
        if arrived - total > size + 8 * slack + 8:
            fault(f"packet {first + k}: {arrived - total:.0f} bits in a buffer of {size}")
        total += 8 * p["bytes"]
        slack += len(p["units"])
        if total - 8 * slack > arrived + 8:
            fault(f"packet {first + k}: late by {total - arrived:.0f} bits")
    average = total * rate / len(gop)
    least, most = min(least or average, average), max(most or average, average)
if len(keys) < 2:
    fault("not one whole GOP")
else:
    print(f"{len(keys) - 1} GOPs of {least / 1000:.0f} to {most / 1000:.0f} kbit/s; declared: {bit_rate / 1000:.0f} with "
          f"a buffer of {size / bit_rate:.2f} s")
sys.exit(faults > 0)
