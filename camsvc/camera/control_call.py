"""A call about a camera's controls: it waits for its turn, and keeps no capture out."""

from camsvc.camera.attempts import Attempts
from camsvc.camera.call import Attempt, Call
from camsvc.camera.queue import CaptureQueue, Ticket
from camsvc.ipc import messages as m
from camsvc.model.values import Control


class ControlCall(Call[list[Control]]):
    """Reads or sets controls; its result is all of them as they are then."""

    def __init__(
        self,
        ticket: Ticket,
        command: m.Command[m.Controls],
        queue: CaptureQueue,
        attempts: Attempts,
    ) -> None:
        super().__init__(ticket)
        self._command = command
        self._queue = queue
        self._attempts = attempts

    async def run(self) -> list[Control]:
        await self._queue.wait_for_turn(self.ticket)
        return await self._attempts.run(self, self._make)

    async def _make(self, attempt: Attempt) -> list[Control]:
        return (await attempt.call(self._command)).controls
