#!/usr/bin/env python3
"""An RTMP server that misbehaves in one way, and tells what it got; for tests.

Usage: rtmp_peer.py ADDRESS PORT LOG [close SECONDS | slow BYTES_A_SECOND | away FROM TO]

  close   ends each connection after so long
  slow    reads no faster
  away    does not listen between these times, counted from the first picture

Writes a line for each event: "<seconds of CLOCK_MONOTONIC> <connection> <time stamp in ms or ->
<publish|key|picture>".
"""
import socket
import struct
import sys
import threading
import time

address, port, log_path, behaviour = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:5]
numbers = [float(x) for x in sys.argv[5:]]
log = open(log_path, "a", buffering=1)
first_picture = None


def say(connection, stamp, what):
    log.write(f"{time.monotonic():.3f} {connection} {stamp} {what}\n")


class Reader:
    """Reads exactly what is asked for, as slowly as told."""

    def __init__(self, peer):
        self.peer, self.start, self.taken = peer, time.monotonic(), 0
        self.deadline = self.start + numbers[0] if behaviour == ["close"] else None

    def take(self, size):
        data = b""
        while len(data) < size:
            if self.deadline and time.monotonic() > self.deadline:
                raise EOFError
            some = self.peer.recv(min(size - len(data), 8192))
            if not some:
                raise EOFError
            data += some
            self.taken += len(some)
            if behaviour == ["slow"]:
                ahead = self.taken / numbers[0] - (time.monotonic() - self.start)
                if ahead > 0:
                    time.sleep(ahead)
        return data


def amf(*values):
    out = b""
    for v in values:
        if v is None:
            out += b"\x05"
        elif isinstance(v, float):
            out += b"\x00" + struct.pack(">d", v)
        elif isinstance(v, str):
            out += b"\x02" + struct.pack(">H", len(v)) + v.encode()
        else:
            out += b"\x03"
            for name, text in v.items():
                out += struct.pack(">H", len(name)) + name.encode() + amf(text)
            out += b"\x00\x00\x09"
    return out


def message(kind, body, stream=0):
    """One chunk: the chunk size is raised first."""
    return b"\x03\x00\x00\x00" + struct.pack(">I", len(body))[1:] + bytes([kind]) + struct.pack("<I", stream) + body


def command(peer, body):
    size = struct.unpack(">H", body[1:3])[0]
    name, number = body[3 : 3 + size].decode(), struct.unpack(">d", body[4 + size : 12 + size])[0]
    ok = {"level": "status", "code": "NetConnection.Connect.Success"}
    if name == "connect":
        peer.sendall(message(5, struct.pack(">I", 5000000)) + message(1, struct.pack(">I", 65536)))
        peer.sendall(message(20, amf("_result", number, {"fmsVer": "FMS/3,0"}, ok)))
    elif name == "createStream":
        peer.sendall(message(20, amf("_result", number, None, 1.0)))
    elif name == "publish":
        ok["code"] = "NetStream.Publish.Start"
        peer.sendall(message(20, amf("onStatus", 0.0, None, ok), 1))
    return name


def serve(peer, connection):
    global first_picture
    reader = Reader(peer)
    hello = reader.take(1537)
    peer.sendall(hello[:1] + hello[1:] + hello[1:])
    reader.take(1536)
    chunk_size, streams = 128, {}
    while True:
        head = reader.take(1)[0]
        form, number = head >> 6, head & 63
        state = streams.setdefault(number, {"stamp": 0, "delta": 0, "size": 0, "kind": 0, "body": b""})
        if form < 3:
            field = reader.take([11, 7, 3][form])
            stamp = int.from_bytes(field[:3], "big")
            if form < 2:
                state["size"], state["kind"] = int.from_bytes(field[3:6], "big"), field[6]
            state["delta"] = 0 if form == 0 else stamp
            state["stamp"] = stamp if form == 0 else state["stamp"] + stamp
        elif not state["body"]:
            state["stamp"] += state["delta"]
        state["body"] += reader.take(min(chunk_size, state["size"] - len(state["body"])))
        if len(state["body"]) < state["size"]:
            continue
        body, state["body"] = state["body"], b""
        if state["kind"] == 1:
            chunk_size = struct.unpack(">I", body)[0]
        elif state["kind"] == 20 and command(peer, body) == "publish":
            say(connection, "-", "publish")
        elif state["kind"] == 9 and body[1] == 1:  # not the parameter sets
            first_picture = first_picture or time.monotonic()
            say(connection, state["stamp"], "key" if body[0] >> 4 == 1 else "picture")


def end(peer, reset):
    if reset:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def run(peer, connection):
    try:
        serve(peer, connection)
    except (EOFError, OSError):
        end(peer, behaviour == ["close"])


def listen():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    listener.bind((address, port))
    listener.listen()
    listener.settimeout(0.05)
    return listener


listener, peers = listen(), []
while True:
    away = behaviour == ["away"] and first_picture and numbers[0] < time.monotonic() - first_picture < numbers[1]
    if away and listener:
        listener.close()
        listener = None
        for peer in peers:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself
    elif not away and not listener:
        listener = listen()
        say(len(peers), "-", "back")
    elif away:
        time.sleep(0.02)
        continue
    try:
        peer = listener.accept()[0] if listener else None
    except socket.timeout:
        continue
    if peer:
        peer.settimeout(None)
        peers.append(peer)
        threading.Thread(target=run, args=(peer, len(peers)), daemon=True).start()
