"""The websockets package at both ends."""

import asyncio
import contextlib

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from recorder import Recorder, report, same


async def echo(socket):
    if socket.request.path == "/closes":
        await socket.close(4321, "enough")
        return
    if socket.request.path == "/drops":
        socket.transport.abort()
        return
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in socket:
            await socket.send(message)
            if message == "ping me":
                await (await socket.ping(b"from the server"))
                await socket.send("ponged")


async def conversation(url):
    seen = []
    for compression in (None, "deflate"):
        async with connect(url + "/a?b=c", compression=compression, max_size=None, subprotocols=["chat"]) as socket:
            for message in ("text ü", b"\0\xffbinary", "", b"", "x" * 125, "y" * 126, "z" * 70_000, b"m" * (8 << 20)):
                await socket.send(message)
                seen.append(await socket.recv() == message)
            await socket.send(["in ", "frag", "ments"])
            seen.append(await socket.recv())
            await (await socket.ping(b"from the client"))
            await socket.send("ping me")
            seen.append([await socket.recv(), await socket.recv()])
            sends = asyncio.create_task(many(socket))
            seen.append([await socket.recv() for _ in range(1000)] == [str(at) for at in range(1000)])
            await sends
            seen.append(sorted(name.lower() for name in socket.response.headers if name.lower() != "date"))
            await socket.close(4000, "my own")
            seen.append((socket.close_code, socket.close_reason))
    for path in ("/closes", "/drops"):
        async with connect(url + path) as socket:
            try:
                await socket.recv()
            except websockets.ConnectionClosed as closed:
                seen.append((path, closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)))
    return seen


async def many(socket):
    for at in range(1000):
        await socket.send(str(at))


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        direct = await conversation(f"ws://127.0.0.1:{port}")
        with Recorder(f"http://127.0.0.1:{port}") as recorder:
            same("what is seen", direct, await conversation(f"ws://{recorder.address}"))
    report(f"websockets {websockets.__version__}: {len(direct)} observations, 0 differences")


asyncio.run(asyncio.wait_for(main(), 60))
