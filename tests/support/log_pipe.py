"""A service's log as a pipe, with a reader that can stop, leave, and go on."""

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import Self

_AT_ONCE = 1 << 16


class LogPipe:
    """Copies what is written to `write_end` into a file. Use as `async with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_end, self.write_end = os.pipe()

    async def __aenter__(self) -> Self:
        self._path.touch()
        self.go_on()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()
        self.close_write_end()

    def close_write_end(self) -> None:
        """Leave the writing to the service alone, so that its pipe breaks with the reader."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def stop(self) -> None:
        """Read nothing more; the pipe fills."""
        asyncio.get_running_loop().remove_reader(self._read_end)

    def go_on(self) -> None:
        """Read again."""
        asyncio.get_running_loop().add_reader(self._read_end, self._copy)

    def leave(self) -> None:
        """Close the reader's end; who writes then gets EPIPE."""
        if self._read_end >= 0:
            self.stop()
            os.close(self._read_end)
            self._read_end = -1

    def _copy(self) -> None:
        data = os.read(self._read_end, _AT_ONCE)
        with self._path.open("ab") as log:
            log.write(data)
        if not data:
            self.stop()
