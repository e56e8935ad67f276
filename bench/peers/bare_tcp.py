"""The least that a Python server can do: one asyncio loop that writes bytes to its connections.

    python -m bench.peers.bare_tcp BYTES FPS

Prints its port. What a live view costs beyond this is the price of gRPC and of the service.
"""

import asyncio
import os
import sys


async def main(size_bytes: int, fps: float) -> None:
    """Serve until killed."""
    connections: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        await reader.read()  # until the viewer leaves
        connections.discard(writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    data = os.urandom(size_bytes)
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + 1 / fps, loop.time())
        await asyncio.sleep(due - loop.time())
        for writer in list(connections):
            writer.write(data)
        for writer in list(connections):
            try:
                await writer.drain()
            except ConnectionError:
                connections.discard(writer)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
