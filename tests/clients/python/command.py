"""camctl, run as a command of its own."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import finished

ESCAPE = "\x1b["


@dataclass
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Camctl:
    """Runs camctl in a folder of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "camctl"),
            *arguments,
            cwd=self.folder,
            env=self.environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        return {**kept, "CAMSVC_ADDRESS": self.address, "TERM": "xterm-256color", **more}

    async def __call__(self, *arguments: str, **environment: str) -> Said:
        process = await self.start(*arguments, **environment)
        said = Said(*await finished(process, within_s=90))
        assert "Traceback" not in said.err
        return said

    async def on_terminal(self, *arguments: str, **environment: str) -> str:
        """Run it on a terminal; return what is painted there."""
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "camctl", *arguments),
            cwd=self.folder,
            env=self.environment({"COLUMNS": "80", "LINES": "24", **environment}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        painted = await asyncio.wait_for(asyncio.to_thread(_read_all, ours), 90)
        os.close(ours)
        assert await process.wait() == 0, painted
        return painted


def _read_all(descriptor: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 1 << 16)
        except OSError:  # so a terminal's end looks on Linux
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()
