"""The least that a grpc.aio server can do: write bytes, serialised beforehand, to its streams.

    python -m bench.peers.bare_grpc BYTES FPS

Prints its port. It answers to the service's own method, so that the same viewers can watch it.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from bench.peers import serving


async def main(size_bytes: int, fps: float) -> None:
    """Serve until killed."""
    frame = pb.LiveFrame(sequence=1, data=os.urandom(size_bytes))
    data = api.LiveViewResponse(frame=frame).SerializeToString()
    loop = asyncio.get_running_loop()
    tick = loop.create_future()

    async def view(request: bytes, context: object) -> AsyncIterator[bytes]:
        while True:
            await asyncio.shield(tick)
            yield data

    # Kept in a variable: a server that nobody has is stopped.
    server = await serving.started(LiveView=grpc.unary_stream_rpc_method_handler(view))  # noqa: F841
    due = loop.time()
    while True:
        due = max(due + 1 / fps, loop.time())
        await asyncio.sleep(due - loop.time())
        done, tick = tick, loop.create_future()
        done.set_result(None)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
