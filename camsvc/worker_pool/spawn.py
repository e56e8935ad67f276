"""Start a worker's process, with a pipe, its stderr and the shared memory between it and here."""

import asyncio
import contextlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.errors import WorkerLost
from camsvc.model.options import Launch
from camsvc.system import posix, sandbox
from camsvc.worker_pool.pipe import Stream
from camsvc.worker_pool.stderr import LINE_BYTES

_PROGRAM = str(Path(__file__).parents[1] / "worker" / "__main__.py")


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process, and the service's ends of what leads to it."""

    process: asyncio.subprocess.Process
    pipe: Stream
    stderr: Stream
    block: SharedBlock


async def spawn(launch: Launch) -> Spawned:
    """Start a process; it belongs to the caller. Cancelled, it leaves nothing.

    Raises:
        WorkerLost: it could not be started.
    """
    with contextlib.ExitStack() as unless_started, contextlib.ExitStack() as theirs:
        try:
            block = SharedBlock.create()
            unless_started.callback(block.close)
            pipe, their_pipe = await _stream(unless_started, theirs)
            stderr, their_stderr = await _stream(unless_started, theirs, LINE_BYTES)
            process = await asyncio.create_subprocess_exec(
                launch.python,
                _PROGRAM,
                str(their_pipe.fileno()),
                str(block.fd),
                str(os.getpid()),
                launch.driver,
                json.dumps(asdict(launch.sandbox)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                # Not asyncio's own PIPE: the process would count as running for as long as
                # any child of its own holds that open.
                stderr=their_stderr.fileno(),
                env=_environment(launch),
                **posix.child_options(their_pipe.fileno(), block.fd),
            )
        except (OSError, RuntimeError) as error:
            # Not the path: this text reaches clients. Only a thread fails by a RuntimeError.
            why = "the system has no thread left"
            if isinstance(error, OSError):
                why = posix.reason(error)
            structlog.get_logger().error(
                "worker not started", python=launch.python, error=str(error)
            )
            raise WorkerLost(f"the worker could not be started: {why}") from error
        # No await from here on: a process that nobody is given would be nobody's.
        unless_started.pop_all()
        return Spawned(process, pipe, stderr, block)


def _environment(launch: Launch) -> dict[str, str]:
    given = dict(os.environ)
    if launch.sandbox.mode != "off":
        given = sandbox.environment(given)
    return given | dict(launch.env)


async def _stream(
    ours: contextlib.ExitStack, theirs: contextlib.ExitStack, limit_bytes: int = 1 << 16
) -> tuple[Stream, socket.socket]:
    """Return a new connection's two ends, each to be closed by its stack."""
    our_end, their_end = socket.socketpair()
    theirs.callback(their_end.close)
    our_end.setblocking(False)
    stream = await asyncio.open_connection(sock=our_end, limit=limit_bytes)
    ours.callback(stream[1].close)
    return stream, their_end
