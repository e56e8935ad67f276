"""The service's end of a worker's pipe: commands out, answers and events in.

Invariants: sending never waits; every call ends, by its answer, by its time-out or by `fail`; an
answer is of the type that its command names, and comes once. The first message is `Started`.
"""

import asyncio
import itertools
from typing import Any, cast

from camsvc.ipc import messages as m
from camsvc.ipc.codec import FROM_SERVICE, FROM_WORKER, HEADER_BYTES
from camsvc.ipc.errors import error_of
from camsvc.ipc.messages import AnswerT
from camsvc.ipc.packing import ProtocolViolation
from camsvc.model.errors import WorkerLost, WorkerTimeout
from camsvc.worker_pool.time_share import TimeShare

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_SHARE = 0.25
"""Of the event loop's time, for what one worker sends. A camera of 30 frames/s takes a hundredth
of it."""


class WorkerPipe:
    """One worker's."""

    def __init__(self, stream: Stream) -> None:
        self._reader, self._writer = stream
        self._share = TimeShare(_SHARE)
        self._started = False
        self._ids = itertools.count(1)
        self._unanswered: dict[int, tuple[m.Command[Any], asyncio.Future[Any]]] = {}
        """Commands, and what their callers wait for; it is done where nobody waits any more."""

    @property
    def busy(self) -> bool:
        """Whether a call waits for its answer."""
        return any(not waiting.done() for _, waiting in self._unanswered.values())

    @property
    def unread_bytes(self) -> int:
        """How much of what was sent the system has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    async def call(self, command: m.Command[AnswerT], timeout_s: float) -> AnswerT:
        """Send a command and return its answer.

        Raises:
            WorkerTimeout: no answer came within `timeout_s`.
            WorkerLost: the pipe failed meanwhile.
            CameraServiceError: the worker's own error.
        """
        message_id = next(self._ids)
        waiting: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._write(message_id, command)
        self._unanswered[message_id] = command, waiting
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting
        except TimeoutError:
            what = type(command).__name__
            raise WorkerTimeout(f"{what} was not answered within {timeout_s:.3g} s") from None
        finally:
            waiting.cancel()

    def send(self, notice: m.Notice) -> None:
        """Send what is not answered."""
        self._write(0, notice)

    async def receive(self) -> m.Started | m.Event | None:
        """Hand answers to their calls until something comes unasked; None at the pipe's end.

        Raises:
            ProtocolViolation: the worker sent what it may not send.
        """
        while True:
            await self._share.next()  # whoever calls this again has done with what it was given
            try:
                header = await self._reader.readexactly(HEADER_BYTES)
                body = await self._reader.readexactly(FROM_WORKER.body_length(header))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            self._share.begin()
            message_id, message = FROM_WORKER.decode(body)
            if isinstance(message, m.Started) is self._started:
                raise ProtocolViolation("a worker starts once, before all else")
            self._started = True
            if not isinstance(message, m.Event | m.Started):
                self._answer(message_id, message)
            elif message_id:
                raise ProtocolViolation(f"{type(message).__name__} answers no command")
            else:
                return message

    def fail(self, why: str) -> None:
        """End every call that waits: the worker is lost."""
        for _, waiting in self._unanswered.values():
            if not waiting.done():
                waiting.set_exception(WorkerLost(why))
                waiting.exception()  # nobody may be waiting any more

    def close(self) -> None:
        """Close this end."""
        self._writer.close()

    def _write(self, message_id: int, message: m.Command[Any] | m.Notice) -> None:
        # Never awaits: a stopped worker would block the writer, and commands are few and small.
        if not self._writer.is_closing():
            self._writer.write(FROM_SERVICE.encode(message_id, cast(m.FromService, message)))

    def _answer(self, message_id: int, answer: m.Answer) -> None:
        if message_id not in self._unanswered:
            raise ProtocolViolation(f"{type(answer).__name__} answers no command")
        command, waiting = self._unanswered[message_id]
        if not isinstance(answer, m.Failed | command.answer_type()):
            raise ProtocolViolation(
                f"{type(answer).__name__} does not answer {type(command).__name__}; "
                f"allowed: {command.answer_type().__name__}, Failed"
            )
        del self._unanswered[message_id]
        if waiting.done():
            return  # who called has left
        if isinstance(answer, m.Failed):
            waiting.set_exception(error_of(answer))
        else:
            waiting.set_result(answer)
