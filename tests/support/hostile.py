"""A client that speaks HTTP/2 by itself, and takes, ends and answers only what it wants to.

`python -m tests.support.hostile ADDRESS CAPTURE SCALE` does all that at once, until it is killed:
at a scale of 1, 5,000 silent connections, 1,000 calls whose replies it never takes, 100 requests of
a megabyte that lack their last byte, and 10,000 viewers a minute that come and go.
"""

import asyncio
import contextlib
import itertools
import os
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Self

import h2.config
import h2.connection
import h2.exceptions
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.message import Message
from h2.events import WindowUpdated
from h2.settings import SettingCodes

_SERVICE = "/camapi.v1.CameraService/"
_RECEIVED_BYTES = 65536
_LOST = (OSError, h2.exceptions.ProtocolError)


class Hostile:
    """One connection over which any number of calls begin. Use as `async with`.

    It takes no reply: its windows have no room. It answers pings, as it would be let go otherwise.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        self._has_room = asyncio.Event()
        self.closed = asyncio.Event()
        """Whether the service has ended the connection."""

    async def __aenter__(self) -> Self:
        host, _, port = self._address.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        self._http.initiate_connection()
        self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        self._flush()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._writer.transport.abort()

    async def call(self, method: str, request: Message | bytes, *, missing_bytes: int = 0) -> int:
        """Begin a call, whose request lacks its last bytes; return the number of its stream."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        stream = self._http.get_next_available_stream_id()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": _SERVICE + method,
            ":authority": "camsvc",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._http.send_headers(stream, list(headers.items()))
        body = struct.pack(">BI", 0, len(data)) + data
        body = body[: len(body) - missing_bytes]
        while body:
            self._has_room.clear()
            room = min(
                self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size
            )
            self._http.send_data(stream, body[:room])
            body = body[room:]
            self._flush()
            if not room:
                await self._has_room.wait()
        if not missing_bytes:
            self._http.end_stream(stream)
        self._flush()
        return stream

    def reset(self, stream: int) -> None:
        """Leave a call."""
        self._http.reset_stream(stream)
        self._flush()

    def _flush(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(self._http.data_to_send())

    async def _read(self) -> None:
        with contextlib.suppress(*_LOST):
            while data := await self._reader.read(_RECEIVED_BYTES):
                for event in self._http.receive_data(data):
                    if isinstance(event, WindowUpdated):
                        self._has_room.set()
                self._flush()
        self.closed.set()
        self._has_room.set()


async def silent(address: str) -> None:
    """Connect and say nothing, until the service has enough of it."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await reader.read()
    finally:
        writer.transport.abort()


async def never_take(address: str, capture_id: str, calls: int) -> None:
    """Begin calls over one connection, and take none of the replies."""
    requests: list[tuple[str, Message]] = [
        ("DownloadImage", api.DownloadImageRequest(capture_id=capture_id)),
        ("LiveView", api.LiveViewRequest(camera="sim0")),
        ("GetFrame", api.GetFrameRequest(camera="sim0")),
        ("CaptureEvents", api.CaptureEventsRequest(after_sequence=0)),
    ]
    async with Hostile(address) as client:
        for method, request in itertools.islice(itertools.cycle(requests), calls):
            await client.call(method, request)
            await asyncio.sleep(0)
        await client.closed.wait()


async def half_send(address: str, requests: int) -> None:
    """Send requests of nearly a megabyte but for their last byte."""
    request = api.CaptureRequest(camera="sim0", labels={"order": "x" * 10**6})
    async with Hostile(address) as client, asyncio.TaskGroup() as sending:
        for _ in range(requests):
            sending.create_task(client.call("Capture", request, missing_bytes=1))
            await asyncio.sleep(0)
        await client.closed.wait()


async def come_and_go(address: str, per_s: float) -> None:
    """Begin to watch and leave, again and again."""
    async with Hostile(address) as client:
        while not client.closed.is_set():
            stream = await client.call("LiveView", api.LiveViewRequest(camera="sim0"))
            await asyncio.sleep(1 / per_s)
            client.reset(stream)


async def attack(address: str, capture_id: str, scale: float) -> None:
    """Do it all, again and again."""

    async def again(work: Callable[[], Awaitable[None]]) -> None:
        while True:
            with contextlib.suppress(*_LOST, ExceptionGroup):
                await work()
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as all_of_it:
        for _ in range(int(5000 * scale)):
            all_of_it.create_task(again(lambda: silent(address)))
        for _ in range(4):
            all_of_it.create_task(
                again(lambda: never_take(address, capture_id, max(4, int(250 * scale))))
            )
        all_of_it.create_task(again(lambda: half_send(address, int(100 * scale))))
        all_of_it.create_task(again(lambda: come_and_go(address, max(5.0, 167 * scale))))


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(attack(sys.argv[1], sys.argv[2], float(sys.argv[3])))
