"""A turntable with a lift, moved by G-code over TCP, as a stage of the scanner."""

import asyncio
import os
from collections.abc import Mapping


class Turntable:
    """Angles turn axis A, heights move axis Z. Each command is answered with "ok"."""

    def __init__(self, address: str | None, timeout_s: float = 60.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def home(self) -> None:
        if self._address:
            host, _, port = self._address.rpartition(":")
            self._line = await asyncio.open_connection(host, int(port))
        await self._send("G28")
        await self._send("G90")  # positions are absolute

    async def move(self, axes: Mapping[str, float]) -> None:
        await self._send(f"G0 A{axes['angle_deg']:.3f} Z{axes['height_mm']:.3f}")
        await self._send("M400")  # answered when the movement is over

    async def close(self) -> None:
        if self._address and self._line is None:
            return
        await self._send("M84")
        if self._line:
            self._line[1].close()

    async def _send(self, command: str) -> None:
        if self._line is None:
            print(command)
            return
        reader, writer = self._line
        writer.write(f"{command}\n".encode())
        async with asyncio.timeout(self._timeout_s):
            answer = await reader.readline()
        if answer.strip() != b"ok":
            raise OSError(f"the turntable answered {answer!r} to {command}")


def connect() -> Turntable:
    """Make the stage, for `camctl scan --stage turntable:connect`."""
    return Turntable(os.environ.get("TURNTABLE"))
