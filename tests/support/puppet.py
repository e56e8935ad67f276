"""A worker whose pipe is in the test's hands: its process sleeps, and can be killed."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

from camsvc.ipc import messages as m
from camsvc.ipc.codec import FROM_WORKER, PROTOCOL
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.system import posix
from camsvc.worker_pool.process import WorkerProcess
from camsvc.worker_pool.spawn import Spawned
from camsvc.worker_pool.stderr import LINE_BYTES
from tests.support.waiting import until

_LIVENESS_S = 60.0

STARTED = FROM_WORKER.encode(0, m.Started(PROTOCOL))


class Puppet(NamedTuple):
    worker: WorkerProcess
    process: asyncio.subprocess.Process
    pipe: socket.socket
    """Its end."""
    hearing: asyncio.StreamReader
    """The other one."""

    async def send(self, data: bytes) -> None:
        """Send all, or as much as the service takes before it is done with the worker."""
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self.pipe, data)

    async def finish(self) -> None:
        """Say no more, and wait until all was heard, or the worker was killed for it."""
        self.pipe.shutdown(socket.SHUT_WR)

        async def heard() -> bool:
            return self.hearing.at_eof() or not self.worker.alive

        await until(heard, "all was heard")


@contextlib.asynccontextmanager
async def puppet() -> AsyncIterator[Puppet]:
    """Give one, which has said nothing yet; it is ended afterwards."""
    process = await asyncio.create_subprocess_exec("sleep", "1000", **posix.child_options())
    pipe, theirs = socket.socketpair()
    stderr, their_stderr = socket.socketpair()
    their_stderr.close()  # it says nothing there
    with theirs:
        theirs.setblocking(False)
        stream = await asyncio.open_connection(sock=pipe)
        spawned = Spawned(
            process,
            pipe=stream,
            stderr=await asyncio.open_connection(sock=stderr, limit=LINE_BYTES),
            block=SharedBlock.create(),
        )
        worker = WorkerProcess(spawned, "puppet", _LIVENESS_S)
        try:
            yield Puppet(worker, process, theirs, stream[0])
        finally:
            worker.kill("the test is over")
            theirs.close()
            await worker.wait_ended()
