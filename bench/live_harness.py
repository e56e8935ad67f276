"""What the rows of `bench.live` have in common: servers, viewers, and what they used."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
_START_S, _STOP_S = 60.0, 20.0
_ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    bound: str
    held: bool


@dataclass
class Server:
    """A server process under measurement."""

    pid: int
    address: str
    process: asyncio.subprocess.Process

    def cpu_s(self) -> float:
        """Return user and system time of the process itself."""
        return _cpu_s(psutil.Process(self.pid))

    def workers_cpu_s(self) -> float:
        """Return user and system time of its children."""
        return sum(map(_cpu_s, psutil.Process(self.pid).children(recursive=True)))

    def rss_bytes(self) -> int:
        """Return the memory that the process itself holds."""
        return int(psutil.Process(self.pid).memory_info().rss)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextlib.asynccontextmanager
async def service(cameras: str, module: str = "camsvc") -> AsyncIterator[Server]:
    """Run the service with the cameras of a piece of TOML."""
    with tempfile.TemporaryDirectory() as folder:
        config, log = Path(folder) / "camsvc.toml", Path(folder) / "log"
        config.write_text('[service]\nlog_format = "json"\n' + cameras, encoding="utf-8")
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, "serve", "--config", str(config)),
                *("--listen", "127.0.0.1:0", "--data-dir", folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=_ENV,
            )
        async with _ended(process):
            try:
                async with asyncio.timeout(_START_S):
                    while not (address := _serving_at(log)):
                        await asyncio.sleep(0.05)
                        if process.returncode is not None:
                            raise SystemExit(log.read_text())
                yield Server(process.pid, address, process)
            except Exception:
                print(log.read_text()[-4000:], file=sys.stderr)
                raise


def _serving_at(log: Path) -> str:
    for line in log.read_text().splitlines():
        if '"serving"' in line and line.endswith("}"):
            return str(json.loads(line)["listen"])
    return ""


def camera(driver: str, **settings: object) -> str:
    """Return the settings of the camera "bench"."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    environment = f'env = {{ PYTHONPATH = "{ROOT}" }}'
    return "\n".join(['[[cameras]]\nid = "bench"', f'driver = "{driver}"', environment, *lines])


PIXELS = camera("bench.drivers:ReadyPixels")


def ready_jpeg(size_bytes: int) -> str:
    """Return the settings of a camera that delivers JPEGs of about this size."""
    return (
        camera("bench.drivers:ReadyJpeg") + f"\noptions = {{ size_bytes = {size_bytes} }}"
    )


@contextlib.asynccontextmanager
async def bare_tcp(size_bytes: int, fps: float) -> AsyncIterator[Server]:
    """Run the bare TCP server."""
    program = str(ROOT / "bench/peers/bare_tcp.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, program, str(size_bytes), str(fps)), stdout=asyncio.subprocess.PIPE
    )
    async with _ended(process):
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        yield Server(process.pid, f"127.0.0.1:{port}", process)


@contextlib.asynccontextmanager
async def peer(name: str) -> AsyncIterator[Server]:
    """Run the server of `bench/peers/NAME` in an environment of its own, made when missing."""
    folder = ROOT / "bench/peers" / name
    venv = ROOT / ".cache/bench" / name
    python, wanted = venv / "bin/python", (folder / "requirements.txt").read_text()
    installed = venv / ".installed"
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing {name} into {venv.relative_to(ROOT)}", file=sys.stderr)
        await _run("bash", str(ROOT / "scripts/venv.sh"), str(venv))
        await _run(str(python), "-m", "pip", "install", "--quiet", "--requirement",
                   str(folder / "requirements.txt"))  # fmt: skip
        installed.write_text(wanted)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        str(python), str(folder / "app.py"), str(port), env=_ENV
    )
    async with _ended(process):
        async with asyncio.timeout(_START_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.1)
        yield Server(process.pid, f"127.0.0.1:{port}", process)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "PYTHON": sys.executable}
    )
    if await process.wait():
        raise SystemExit(f"failed: {' '.join(command)}")


@contextlib.asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@dataclass
class Frames:
    """What viewers have seen: for each a list of (received, acquired, sequence)."""

    viewers: list[list[tuple[int, int, int]]] = field(default_factory=list)
    ended: int = 0

    def within(self, began_ns: int, ended_ns: int) -> "Frames":
        """Return what was received within a window."""
        return Frames([[f for f in v if began_ns <= f[0] < ended_ns] for v in self.viewers])

    def count(self) -> int:
        """Return how many frames were delivered, to all viewers together."""
        return sum(map(len, self.viewers))


@dataclass
class Viewers:
    """Processes that view; see `bench.live_viewers`."""

    processes: list[asyncio.subprocess.Process]

    async def leave(self) -> Frames:
        """End them and return what they have seen."""
        frames = Frames()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            assert process.stdout is not None
            answer = json.loads(await process.stdout.read())
            frames.viewers += answer["seen"]
            frames.ended += answer["ended"]
            await process.wait()
        return frames

    def stop_reading(self) -> None:
        """Stop the processes where they are; they go on existing, and never read again."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)


@contextlib.asynccontextmanager
async def viewers(
    kind: str, server: Server, count: int, *, processes: int = 1, **spec: object
) -> AsyncIterator[Viewers]:
    """View with `count` viewers in `processes` processes, from their first frames on."""
    started = []
    try:
        for index in range(processes):
            share = count // processes + (index < count % processes)
            settings = {"kind": kind, "address": server.address, "camera": "bench",
                        "viewers": share, **spec}  # fmt: skip
            started.append(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "bench.live_viewers", json.dumps(settings)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env=_ENV,
                )
            )
        for process in started:
            assert process.stdout is not None
            async with asyncio.timeout(_START_S):
                line = await process.stdout.readline()
            if line != b"ready\n":
                raise SystemExit("viewers did not start")
        yield Viewers(started)
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def watched(
    server: Server, kind: str, count: int, seconds: float, meters: Sequence, **spec: object
) -> tuple[Frames, list[float]]:
    """View for a while; return the frames of that while, and how far each meter rose."""
    async with viewers(kind, server, count, **spec) as people:
        await asyncio.sleep(1)  # buffers fill, windows open
        began_ns, before = time.time_ns(), [meter() for meter in meters]
        await asyncio.sleep(seconds)
        after, ended_ns = [meter() for meter in meters], time.time_ns()
        frames = await people.leave()
    if frames.ended:
        raise SystemExit(f"{frames.ended} streams ended by themselves")
    return frames.within(began_ns, ended_ns), [b - a for a, b in zip(before, after, strict=True)]
