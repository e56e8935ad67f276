"""A disk of a few megabytes, seen only by those who enter it."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.waiting import finished

_BLOCK = 4096
_UP_S, _DOWN_S = 10.0, 10.0


class SmallDisk:
    """A tmpfs over `folder`, in mounts of its own. Use as `async with`.

    `options` are those of mount. It lives as long as this, whoever enters and leaves it.
    """

    def __init__(self, folder: Path, options: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._options = options

    async def __aenter__(self) -> Self:
        unshare = shutil.which("unshare")
        if not unshare or await _fails(unshare, "-rm", "true"):
            pytest.skip("this system gives users no mounts of their own")
        steps = f'mount -t tmpfs -o {self._options} tmpfs "$0" && echo up && exec cat'
        self._holder = await asyncio.create_subprocess_exec(
            *(unshare, "-rm", "sh", "-c", steps, str(self._folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        async with asyncio.timeout(_UP_S):
            said = await self._holder.stdout.readline()
        assert said == b"up\n", await finished(self._holder, within_s=_DOWN_S)
        self.path = Path(f"/proc/{self._holder.pid}/root{self._folder}")
        """Where it is, as seen from outside."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.close()  # which ends it
        await finished(self._holder, within_s=_DOWN_S)

    @property
    def entering(self) -> tuple[str, ...]:
        """The command that runs what follows it inside."""
        target = f"--target={self._holder.pid}"
        return ("nsenter", target, "--user", "--preserve-credentials", "--mount")

    async def run(self, *command: str) -> None:
        """Run a command inside, which must succeed."""
        said = await _fails(*self.entering, *command)
        assert not said, said

    @contextlib.asynccontextmanager
    async def read_only(self) -> AsyncIterator[None]:
        """Let nothing new be made in it; a file that is open for writing stays so."""
        folder = str(self._folder)
        await self.run("mount", "--bind", folder, folder)
        await self.run("mount", "-o", "remount,bind,ro", folder)
        try:
            yield
        finally:
            await self.run("umount", folder)

    @property
    def free_bytes(self) -> int:
        """Return what is free."""
        return shutil.disk_usage(self.path).free

    def fill(self, leave_bytes: int = 0) -> None:
        """Fill it, as another program would, until only so much is free."""
        with (self.path / "filler").open("ab", buffering=0) as filler:
            while (left := self.free_bytes - leave_bytes) >= _BLOCK:
                try:
                    filler.write(b"x" * min(left, 1 << 20))
                except OSError:  # somebody was faster
                    continue

    def make_room(self) -> None:
        """Take away what `fill` has put there."""
        (self.path / "filler").unlink(missing_ok=True)


async def _fails(*command: str) -> str:
    """Run a command; return what it says when it fails, else nothing."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    code, _, said = await finished(process, within_s=_DOWN_S)
    return f"exit code {code}: {said}" if code else ""
