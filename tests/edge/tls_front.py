#!/usr/bin/env python3
"""TLS in front of an RTMP server, for tests: tls_front.py PORT CERTIFICATE KEY SERVER_PORT LOG

Each connection's first byte goes into LOG, a line each: 22 begins TLS, 3 would be RTMP in the open.
"""
import asyncio
import socket
import ssl
import sys

port, certificate, key, server_port, log_path = sys.argv[1:]
log = open(log_path, "a", buffering=1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def serve(peer):
    loop = asyncio.get_running_loop()
    while True:
        try:
            first = peer.recv(1, socket.MSG_PEEK)
            break
        except BlockingIOError:
            await asyncio.sleep(0.01)
    log.write(f"{first[0] if first else '-'}\n")
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer, ssl=context)
        server = await asyncio.open_connection("127.0.0.1", int(server_port))
    except OSError:
        peer.close()
        return
    secure = asyncio.StreamWriter(transport, protocol, reader, loop)
    await asyncio.gather(copy(reader, server[1]), copy(server[0], secure))


async def main():
    listener = socket.create_server(("127.0.0.1", int(port)))
    listener.setblocking(False)
    tasks = set()
    while True:
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        tasks.add(asyncio.create_task(serve(peer)))


asyncio.run(main())
