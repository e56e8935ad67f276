"""The example backend in a process of its own."""

import asyncio
import json
import re
import shutil
import signal
import urllib.request
from collections.abc import Mapping
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError

import psutil

from tests.support.waiting import until

FOLDER = Path(__file__).parents[2] / "clients/typescript/examples/backend"
BUILT = FOLDER / "dist/src/main.js"
CALL_S = 60.0
_START_S = 60.0


class Backend:
    """The built backend, for a service at an address. Use as `async with`.

    Its clock is `ahead_s` seconds ahead of the service's.
    """

    def __init__(
        self, folder: Path, service: str, *flags: str, port: int = 0, ahead_s: float = 0.0
    ) -> None:
        self._ahead_s = ahead_s
        self._log = folder / "backend.log"
        self._service = service
        self._flags = ("--port", str(port), *flags)
        self.url = ""

    async def __aenter__(self) -> Self:
        node = shutil.which("node")
        assert node is not None
        clock = f"const now = Date.now; Date.now = () => now() + {self._ahead_s * 1000}"
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(node, "--import", f"data:text/javascript,{clock}", str(BUILT)),
                *("--service", self._service, *self._flags),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.ps = psutil.Process(self._process.pid)
        await until(self._serves, "the backend serves", within_s=_START_S)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = await self.stop()
        print(self.log())  # shown when the test fails
        if kind is None:
            assert code == 0
            assert '"level":50' not in self.log(), "it logged an error"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    async def stop(self, *, within_s: float = 10.0) -> int:
        """Tell it to end, wait until it has, and return its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

        async def ended() -> bool:
            return self._process.returncode is not None

        try:
            await until(ended, "it has ended", within_s=within_s)
        except AssertionError as late:
            self._process.kill()
            await self._process.wait()
            raise AssertionError(f"{late}\n{self.log()}") from None
        return await self._process.wait()

    async def call(
        self, path: str, method: str = "GET", body: object = None, **headers: str
    ) -> "Answer":
        """Send a request. Headers are named with `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(_call, self.url + path, method, body, sent)

    async def _serves(self) -> bool:
        assert self._process.returncode is None, self.log()
        found = re.search(r" on (http://\S+)", self.log())
        self.url = found[1] if found else ""
        return found is not None


class Answer:
    """What came back."""

    def __init__(self, response: HTTPResponse | HTTPError) -> None:
        self.status: int = response.status or 0
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in response.headers.items()}
        self.data = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def _call(url: str, method: str, body: object, headers: Mapping[str, str]) -> Answer:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {**headers}, method=method)
    if data is not None:
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=CALL_S) as response:
            return Answer(response)
    except HTTPError as error:
        with error:
            return Answer(error)
