"""A line between a client and the service that can be cut, when a reply comes or at any time.

It reads the service's side as HTTP/2 frames, and so knows where a reply begins.
"""

import asyncio
from types import TracebackType
from typing import Self

_HEADER_BYTES = 9
_DATA, _HEADERS = 0, 1
_CLOSED = (asyncio.IncompleteReadError, ConnectionError)


class Proxy:
    """Passes on what a client and the service say to each other. Use as `async with`."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._lines: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._dead: set[asyncio.StreamWriter] = set()
        self._allowed: int | None = None
        self._every: int | None = None
        self.address = ""
        self.cuts = 0
        """Replies that did not come through."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        if self._lines:
            await asyncio.wait(self._lines, timeout=5)

    def cut_next_reply(self, *, after_bytes: int = 0) -> None:
        """Cut the line when the next reply comes, once so much of it has come through."""
        self._allowed = after_bytes

    def cut_replies_every(self, every_bytes: int) -> None:
        """Cut each line from now on when so much of replies has come through since the last cut."""
        self._allowed = self._every = every_bytes

    def cut(self) -> None:
        """Cut every line now, as when a cable is pulled."""
        for writer in self._writers:
            writer.transport.abort()

    def forget(self) -> None:
        """Swallow from now on what the lines there are carry, as a router that has forgotten them.

        New ones work.
        """
        self._dead = set(self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        self._writers.add(writer)
        try:
            theirs, to_them = await asyncio.open_connection(self._host, self._port)
        except ConnectionError:
            writer.transport.abort()
        else:
            self._writers.add(to_them)
            line = (self._pass_requests(reader, to_them), self._pass_replies(theirs, writer))
            pumps = [asyncio.create_task(pump) for pump in line]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for end in (writer, to_them):
                end.transport.abort()
            await asyncio.wait(pumps)
            self._writers.discard(to_them)
        finally:
            self._writers.discard(writer)
            self._lines.discard(task)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if writer in self._dead:
                    continue
                writer.write(data)
                await writer.drain()
        except _CLOSED:
            pass

    async def _pass_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while True:
                header = await reader.readexactly(_HEADER_BYTES)
                frame = header + await reader.readexactly(int.from_bytes(header[:3], "big"))
                replies = header[3] in (_DATA, _HEADERS)
                if replies and self._allowed is not None:
                    if len(frame) > self._allowed:
                        writer.write(frame[: self._allowed])
                        await writer.drain()
                        self._allowed = self._every
                        self.cuts += 1
                        return
                    self._allowed -= len(frame)
                if writer in self._dead:
                    continue
                writer.write(frame)
                await writer.drain()
        except _CLOSED:
            pass
