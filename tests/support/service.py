"""A real service in a process of its own, with real gRPC to it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import psutil
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import channel_options

from tests.support.waiting import until

START_S, STOP_S, CALL_S = 60.0, 60.0, 60.0
"""Where nothing is promised: what has not come by then will not come, on a busy machine either."""


class Service:
    """`camsvc serve` with settings given as TOML. Use as `async with`."""

    def __init__(
        self,
        folder: Path,
        settings: str,
        *,
        retries: bool = False,
        listen: str = "127.0.0.1:0",
        entering: Sequence[str] = (),
        start_s: float = START_S,
        log_path: Path | None = None,
        stderr: int | None = None,
    ) -> None:
        """Write the settings; those of `[service]` come first in them.

        `entering` is a command that runs the service, which it is followed by; `start_s` is how
        long it may take to serve. Its log is read at `log_path`; `stderr` is a descriptor through
        which it gets there, else the service writes there itself.
        """
        self._config = folder / "camsvc.toml"
        self._config.write_text(
            '[service]\nmetrics_listen = "127.0.0.1:0"\nlog_format = "json"\nlog_level = "debug"\n'
            + settings
        )
        self.data_dir = folder / "data"
        self._log_path = log_path or folder / "service.log"
        self._stderr = stderr
        self._retries = retries
        self._listen = listen
        self._entering = entering
        self._start_s = start_s
        self.address = ""
        self.exit_codes = {0, -signal.SIGKILL}

    async def __aenter__(self) -> Self:
        self.started_at = time.monotonic()
        if self._stderr is None:
            self._log_path.write_bytes(b"")
        with self._log_path.open("ab") as log:  # what breaks on a full disk goes on at the end
            self._process = await asyncio.create_subprocess_exec(
                *(*self._entering, sys.executable, "-m", "camsvc", "serve"),
                *("--config", str(self._config)),
                *("--listen", self._listen, "--data-dir", str(self.data_dir)),
                stderr=log if self._stderr is None else self._stderr,
                stdin=asyncio.subprocess.DEVNULL,
            )
        self.ps = psutil.Process(self._process.pid)
        async with asyncio.timeout(self._start_s):
            self.address = (await self.logged("serving"))["listen"]
        self.channel = self.connect(retries=self._retries)
        self.stub = CameraServiceStub(self.channel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.channel.close()
        workers = self.workers()
        named = named_memory(self.ps.pid, *(worker.pid for worker in workers))
        code = await self.stop()
        print(self.log_text()[-8000:])  # shown when the test fails
        _, left = psutil.wait_procs(workers, timeout=5)
        for process in left:
            process.kill()
        if kind is None:
            assert code in self.exit_codes, f"exit code {code}\n{self.log_text()}"
            assert not left, f"workers left behind: {left}"
            assert not named, f"shared memory with a name may be left behind: {named}"
            unhandled = [e for e in self.log() if "unhandled exception" in e.get("event", "")]
            assert not unhandled, unhandled
            assert "Traceback" not in self.log_text()

    def connect(self, *, retries: bool = False) -> grpc.aio.Channel:
        """Open another channel, with the client's retry policy or without any."""
        options = channel_options() if retries else [("grpc.enable_retries", 0), *_RECEIVE]
        return grpc.aio.insecure_channel(self.address, options=[*options, _CONNECTION_OF_ITS_OWN])

    def send(self, number: int) -> None:
        """Send a signal to the service."""
        self._process.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end of the service; return its exit code."""
        if self._process.returncode is None:
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
                raise AssertionError(f"it did not stop\n{self.log_text()[-4000:]}") from None
        assert self._process.returncode is not None
        return self._process.returncode

    async def capture(
        self, camera: str = "sim0", *, timeout: float | None = CALL_S, **fields: Any
    ) -> api.CaptureResponse:
        """Take a still."""
        return await self.stub.Capture(api.CaptureRequest(camera=camera, **fields), timeout=timeout)

    async def camera(self, camera: str = "sim0") -> "api.GetCameraResponse":
        return await self.stub.GetCamera(api.GetCameraRequest(camera=camera), timeout=CALL_S)

    async def wait_for_state(
        self, state: "pb.Camera.State.ValueType", camera: str = "sim0"
    ) -> None:
        """Wait until a camera is in a state."""

        async def reached() -> bool:
            return (await self.camera(camera)).camera.state == state

        await until(reached, f"{camera} is {pb.Camera.State.Name(state)}", within_s=CALL_S)

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes there are."""
        try:
            return list(self.ps.children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def log_text(self) -> str:
        return self._log_path.read_text(errors="replace")

    def log(self) -> list[dict[str, str]]:
        """Return the log's whole JSON lines; a disk that is full breaks some."""
        lines = self.log_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line[:1] + line[-1:] == "{}"]

    async def logged(self, event: str, count: int = 1) -> dict[str, str]:
        """Wait until an event has been logged `count` times; the caller bounds the wait."""
        read = -1
        while True:
            if (size := self._log_path.stat().st_size) != read:
                read = size
                found = [entry for entry in self.log() if entry.get("event") == event]
                if len(found) >= count:
                    return found[count - 1]
            if self._process.returncode is not None:
                raise AssertionError(f"the service ended\n{self.log_text()}")
            await asyncio.sleep(0.01)  # a file cannot be awaited


_RECEIVE = [("grpc.max_receive_message_length", 64 * 2**20)]
_CONNECTION_OF_ITS_OWN = ("grpc.use_local_subchannel_pool", 1)


def worker_memory(pid: int | None = None) -> int:
    """Count a process's descriptors of memory shared with workers, where the system tells."""
    folder, count = f"/proc/{pid or os.getpid()}/fd", 0
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        with contextlib.suppress(OSError):
            count += "camsvc-worker" in os.readlink(f"{folder}/{name}")
    return count


_TRACER = "/dev/shm/lttng-ust-wait-"
"""libcamera's tracing library keeps one for the whole machine, whoever uses it first."""


def named_memory(*pids: int) -> set[str]:
    """Return the shared memory with a name that processes have open or mapped, on Linux.

    What has a name can outlive its processes; whose it was then, nobody can say.
    """
    found = set[str]()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                found.update(line.split(maxsplit=5)[5:])
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    found.add(os.readlink(link))
    named = {path for path in found if path.startswith("/dev/shm/")}
    return {path for path in named if not path.startswith(_TRACER)}
