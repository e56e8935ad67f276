"""A service that can be killed, frozen and started again at the same address."""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.ports import held_port
from tests.support.waiting import until

_START_S = 60.0


class Rig:
    """`camsvc serve` with settings as TOML, in a folder that outlives it. Use as `async with`."""

    def __init__(self, folder: Path, settings: str) -> None:
        self._config = folder / "camsvc.toml"
        self._config.write_text(
            '[service]\nmetrics_listen = "127.0.0.1:0"\nlog_format = "json"\n' + settings
        )
        self._data_dir = folder / "data"
        self._log = folder / "service.log"
        self._held = contextlib.ExitStack()
        self.address = f"127.0.0.1:{self._held.enter_context(held_port())}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._held:
            if self._process.returncode is None:
                self.thaw()
                await self.stop()
        print(self._log.read_text()[-6000:])  # shown when the test fails

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "camsvc", "serve", "--config", str(self._config)),
                *("--listen", self.address, "--data-dir", str(self._data_dir)),
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
            )
        await until(self._serves, "the service serves", within_s=_START_S)

    async def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Stop it, as a restart by its supervisor does."""
        self._process.terminate()
        await asyncio.wait_for(self._process.wait(), 20)

    def freeze(self) -> None:
        """Stop it, without an end."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    async def _serves(self) -> bool:
        assert self._process.returncode is None, self._log.read_text()
        lines = self._log.read_text(errors="replace").split("\n")[:-1]
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return any(entry.get("event") == "serving" for entry in entries)
