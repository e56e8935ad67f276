"""Readers of events in a process of their own; run by path with ADDRESS READERS LAST SECONDS.

Each reads from the beginning, up to event LAST or for so many seconds, over a connection of its
own. Says what they have read, as JSON.
"""

import asyncio
import json
import sys
import time

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub


async def replay(address: str, last: int, until_time: float) -> int:
    """Read in order without a hole; return how far it came."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        call = CameraServiceStub(channel).CaptureEvents(api.CaptureEventsRequest(after_sequence=0))
        place = 0
        async for response in call:
            if response.HasField("event"):
                assert response.event.sequence == place + 1
                place += 1
            if place >= last or time.monotonic() > until_time:
                break
        call.cancel()
        return place


async def main(address: str, readers: str, last: str, seconds: str) -> None:
    started = time.monotonic()
    until_time = started + float(seconds)
    places = await asyncio.gather(
        *(replay(address, int(last), until_time) for _ in range(int(readers)))
    )
    print(json.dumps({"places": places, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
