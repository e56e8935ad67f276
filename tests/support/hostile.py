"""A client that speaks HTTP/2 by itself, and takes, ends and answers only what it is told to."""

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Self

import h2.config
import h2.connection
import h2.exceptions
from google.protobuf.message import Message
from h2.settings import SettingCodes

_SERVICE = "/camapi.v1.CameraService/"
_RECEIVED_BYTES = 65536


class Hostile:
    """One connection over which any number of calls begin. Use as `async with`.

    It takes no reply: its windows have no room. It answers pings, as it would be let go otherwise.
    """

    def __init__(self, address: str, *, from_host: str = "127.0.0.1") -> None:
        host, _, port = address.rpartition(":")
        self._address, self._from_host = (host, int(port)), from_host
        self._http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        self.closed = asyncio.Event()
        """Whether the service has ended the connection."""

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            *self._address, local_addr=(self._from_host, 0)
        )
        self._http.initiate_connection()
        self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        self._flush()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._writer.transport.abort()

    def call(self, method: str, request: Message | bytes, *, missing_bytes: int = 0) -> None:
        """Begin a call, whose request lacks its last bytes."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", _SERVICE + method),
                (":authority", "camsvc"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ],
        )
        body = struct.pack(">BI", 0, len(data)) + data
        body = body[: len(body) - missing_bytes]
        for start in range(0, len(body), self._http.max_outbound_frame_size):
            part = body[start : start + self._http.max_outbound_frame_size]
            if len(part) > self._http.local_flow_control_window(stream):
                break  # the rest would need what the service allows later
            self._http.send_data(stream, part)
        if not missing_bytes:
            self._http.end_stream(stream)
        self._flush()

    def _flush(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(self._http.data_to_send())

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(_RECEIVED_BYTES):
                self._http.receive_data(data)
                self._flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        self.closed.set()


def silent(address: str, count: int) -> Sequence[socket.socket]:
    """Return connections over which nothing is ever said; their maker closes them."""
    host, _, port = address.rpartition(":")
    return [socket.create_connection((host, int(port))) for _ in range(count)]
