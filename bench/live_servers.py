"""The servers that `bench.live` measures: the service and its peers, each in a process."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
_START_S, _STOP_S = 60.0, 20.0
_BARE_START_S = 120.0
"""In an emulated machine imports alone take a while."""
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


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
async def service(
    cameras: str, module: str = "camsvc", data_dir: Path | None = None
) -> AsyncIterator[Server]:
    """Run the service with the cameras of a piece of TOML."""
    with tempfile.TemporaryDirectory() as folder:
        config, log = Path(folder) / "camsvc.toml", Path(folder) / "log"
        service_settings = '[service]\nlog_format = "json"\nmetrics_listen = ""\n'
        config.write_text(service_settings + cameras, encoding="utf-8")
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, "serve", "--config", str(config)),
                *("--listen", "127.0.0.1:0", "--data-dir", str(data_dir or folder)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=ENV,
            )
        async with ended(process):
            try:
                async with asyncio.timeout(_START_S):
                    while not (address := _serving_at(log)):
                        await asyncio.sleep(0.05)
                        _raise_if_ended(process, log)
                yield Server(process.pid, address, process)
            except Exception:
                print(log.read_text()[-4000:], file=sys.stderr)
                raise


def _raise_if_ended(process: asyncio.subprocess.Process, log: Path) -> None:
    if process.returncode is not None:
        raise SystemExit(log.read_text())


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
    return camera("bench.drivers:ReadyJpeg") + f"\noptions = {{ size_bytes = {size_bytes} }}"


@contextlib.asynccontextmanager
async def bare(
    name: str,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    python: Path = Path(sys.executable),
    paths: Sequence[Path] = (),
) -> AsyncIterator[Server]:
    """Run the server of `bench/peers/bare_NAME.py`, all in one process.

    `paths` are where its `python` finds packages that it lacks.
    """
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-m", f"bench.peers.bare_{name}", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        env={**ENV, **(env or {}), "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths)))},
    )
    async with ended(process):
        assert process.stdout is not None
        async with asyncio.timeout(_BARE_START_S):
            line = await process.stdout.readline()
        if not line:
            raise SystemExit(f"the server bare_{name} has ended")
        yield Server(process.pid, f"127.0.0.1:{int(line)}", process)


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
        str(python), str(folder / "app.py"), str(port), env=ENV
    )
    async with ended(process):
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
async def ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """End a process with the block."""
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
