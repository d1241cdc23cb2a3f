#!/usr/bin/env python3
"""A camera's recording, for tests: make_camera.py NUMBER SECONDS OUT [FFMPEG'S OPTIONS...]

1280 by 720 at 25 frames a second. Rows 300 to 420 are 42 blocks as check_received.py reads them, whose number is the camera's
times 2^24 and the frame's; below them it is white in the first frame of each second, with 20 ms of tone in the sound.
"""
import subprocess
import sys

from check_received import BLOCKS, crc8

WIDTH, HEIGHT, RATE = 1280, 720, 25


def picture(number, white):
    bits = 2 << 40 | number << 8 | crc8(number)
    row = bytearray(WIDTH)
    for i in range(BLOCKS):
        left, right = WIDTH * i // BLOCKS, WIDTH * (i + 1) // BLOCKS
        row[left:right] = bytes([235 if bits >> (BLOCKS - 1 - i) & 1 else 16]) * (right - left)
    texture = bytes(60 + (x * 7 + number * 3) % 90 for x in range(WIDTH))
    below = bytes([235 if white else 30]) * WIDTH
    return texture * 300 + bytes(row) * 120 + below * 300


def main():
    camera, seconds, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    encoder = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r",
         str(RATE), "-i", "pipe:0", "-f", "lavfi", "-i",
         f"aevalsrc=if(lt(mod(t\\,1)\\,0.02)\\,0.5*sin(2*PI*1000*t)\\,0):s=48000:d={seconds}", "-pix_fmt", "yuv420p",
         "-c:v", "libx264", "-preset", "ultrafast", "-g", str(RATE), "-b:v", "3M", "-c:a", "aac", "-b:a", "128k",
         *sys.argv[4:], out], stdin=subprocess.PIPE)
    for n in range(seconds * RATE):
        encoder.stdin.write(picture(camera << 24 | n, n % RATE == 0))
    encoder.stdin.close()
    sys.exit(encoder.wait())


main()
