"""The retry loop: the attempts of a call, each on a ready camera; control calls are just that."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from camsvc.camera.call import Attempt, Call
from camsvc.camera.deadline import worst_case_s
from camsvc.camera.ports import CameraWorker
from camsvc.camera.queue import CaptureQueue, Ticket
from camsvc.camera.supervisor import Supervisor
from camsvc.ipc import messages as m
from camsvc.live.feed import LiveFeed
from camsvc.model.errors import CameraLost, DriverFault, WorkerTimeout
from camsvc.model.options import CameraOptions
from camsvc.model.retry_hint import CaptureTimes
from camsvc.model.values import Control
from camsvc.system.event_loop import loop_time

R = TypeVar("R")


class Attempts:
    """Makes the attempts of one camera's calls, each in its turn."""

    def __init__(
        self, options: CameraOptions, supervisor: Supervisor, live: LiveFeed, times: CaptureTimes
    ) -> None:
        self._options = options
        self._supervisor = supervisor
        self._live = live
        self._times = times

    async def run(self, call: Call[Any], work: Callable[[Attempt], Awaitable[R]]) -> R:
        """Do a call's work, as often as the settings allow and it is wanted.

        Raises:
            CameraUnavailable: all attempts failed, or the camera is away.
            CameraFaulted: an operator must act.
            Unsupported, InvalidRequest, StorageFull, StorageUnavailable: by the work; the camera
                is well.
        """
        supervisor, options = self._supervisor, self._options
        next_at, failure = 0.0, "nothing"
        while call.attempts < options.attempts and call.is_wanted:
            call.attempts += 1
            try:
                await self._live.let_frame_come()
                worker = await supervisor.ready(next_at)
                call.on_attempt()
                return await self._once(call, work, worker)
            except TimeoutError:
                failure = f"it was not open within {options.open_timeout_s:g} s, its open_timeout_s"
            except DriverFault as fault:
                raise supervisor.refusal() from fault
            except CameraLost as error:
                failure = str(error)
                call.recoveries += 1
            next_at = loop_time() + min(
                call.attempts * options.attempt_pause_s, options.open_timeout_s / 2
            )
            call.on_attempt_failed(
                supervisor.unavailable(f"failed in attempt {call.attempts}: {failure}")
            )
        raise supervisor.unavailable(
            f"failed in {call.attempts} of {self._options.attempts} attempts; the last: {failure}",
            capture_id=call.ticket.id,
            attempts=str(call.attempts),
        )

    async def _once(
        self, call: Call[Any], work: Callable[[Attempt], Awaitable[R]], worker: CameraWorker
    ) -> R:
        supervisor, ticket = self._supervisor, call.ticket
        extra_s = ticket.extra_s
        if supervisor.device is not None:
            self._times.guess_s = supervisor.device.expected_capture_s
            extra_s += supervisor.device.max_silence_s
        timeout_s = self._options.attempt_timeout_s + extra_s
        longest_s = worst_case_s(self._options, extra_s)
        attempt = call.attempt = Attempt(call, worker, timeout_s, longest_s)
        self._live.pause()
        if ticket.is_capture:
            supervisor.begin_capture()
        try:
            result = await work(attempt)
        except (CameraLost, DriverFault) as error:
            supervisor.on_worker_failed(worker, error)
            raise
        except asyncio.CancelledError:
            if attempt.interrupted:
                supervisor.on_worker_failed(worker, WorkerTimeout("its call was cancelled"))
            raise
        finally:
            supervisor.end_capture()
            call.attempt = None
            self._live.resume()
        supervisor.confirm_working()
        if ticket.is_capture:
            seconds = loop_time() - attempt.called
            self._times.add(max(0.0, seconds - ticket.extra_s))
        return result


class ControlCall(Call[list[Control]]):
    """Reads or sets controls; its result is all of them as they are then. Keeps no capture out."""

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
