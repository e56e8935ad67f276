"""Who may use a camera, in which order, and when the others should come back.

One queue per camera: the callers take turns, and of one caller, who came first is first. A capture
with REJECT enters only when no other capture is in the queue, or when it comes back as it was told
while others wait all the time; with WAIT also when the queue is not full, or another caller has
more than its share of it. Control calls wait in it too, but keep nobody out. A ticket whose client
has left keeps its place until its work has ended, but does not count: the next capture enters
behind it.

Invariants:

- Nobody enters before the first ticket, which has the camera.
- Tickets of groups stay in the order in which they came, in all queues: groups that share cameras
  would else wait for each other.
"""

import asyncio
import itertools
import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from camsvc.model.caller import NOBODY, Caller, gives_way
from camsvc.model.errors import CameraBusy, CameraServiceError, QueueFull
from camsvc.model.retry_hint import CaptureTimes, RetryHints
from camsvc.system.event_loop import loop_time

_CONTROLS = 64
"""Calls that may read or set a camera's controls at once. They are quick, and not joined."""

_PROMISE_KEPT_S = 10.0
"""How much later than told a refused client may come back."""


@dataclass(eq=False)
class Ticket:
    """One call's place in a camera's queue. Times without unit suffix are the event loop's."""

    request_id: str = ""
    fingerprint: str = ""
    """Of the request under that id; see `model.fingerprint`."""
    caller: Caller = NOBODY
    is_capture: bool = True
    in_group: bool = False
    extra_s: float = 0.0
    """What this call is expected to take beyond the camera's usual time: a longer exposure."""
    deadline: float = math.inf
    """When the last of the clients that wait for it gives up."""
    has_client: bool = True
    """Whether anybody waits for it."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    position: int = 0
    """How many captures were ahead of it when that was reported last."""
    taken_before: int = 0
    """How many captures in all are taken before it, as far as they have come by now."""
    turn: float = 0.0
    """Its place in the order: see `CaptureQueue._turn_of`."""
    refused: CameraServiceError | None = None
    """Why it has lost its place."""
    started: float = 0.0
    started_ns: int = 0
    entered: float = field(default_factory=loop_time)
    entered_ns: int = field(default_factory=time.time_ns)

    @property
    def counts(self) -> bool:
        """Whether it keeps other captures waiting."""
        return self.is_capture and self.has_client


class CaptureQueue:
    """The queue of one camera."""

    def __init__(self, camera: str, limit: int, times: CaptureTimes) -> None:
        self._camera = camera
        self._limit = limit
        self._times = times
        self._hints = RetryHints(times)
        self._tickets: list[Ticket] = []
        """In the order of their turns."""
        self._turn = 0.0
        """The turn of whoever comes now, and has nothing in the queue."""
        self._changed = asyncio.Event()
        self._promised: dict[Caller, float] = {}
        """When callers that were refused may come back, in the event loop's time."""

    @property
    def holder(self) -> Ticket | None:
        """The first capture that somebody waits for."""
        return next((ticket for ticket in self._tickets if ticket.counts), None)

    @property
    def captures(self) -> int:
        """How many captures are in the queue, the one under way included."""
        return sum(ticket.counts for ticket in self._tickets)

    @property
    def waiting(self) -> int:
        """How many captures wait behind the holder."""
        return max(0, self.captures - 1)

    @property
    def empty(self) -> bool:
        """Whether no call at all is in the queue."""
        return not self._tickets

    def has_others(self, ticket: Ticket) -> bool:
        """Whether somebody waits in the queue for another call than this one."""
        return any(other is not ticket and other.has_client for other in self._tickets)

    def enter(self, ticket: Ticket, *, wait: bool) -> Sequence[Ticket]:
        """Take the caller's next turn.

        Return the captures that were to be taken before, and are no more: they have moved back.

        Raises:
            CameraBusy: another capture is in the queue, and `wait` is False or would outlast the
                ticket's deadline as far as is known.
            QueueFull: as many of its kind wait as may, and no other caller has more of them.
        """
        ticket.turn = self._turn_of(ticket)
        index = self._index_of(ticket)
        holder = self.holder
        ticket.position = ticket.taken_before = sum(t.counts for t in self._tickets[:index])
        if ticket.is_capture and holder is not None:
            if not wait:
                self.require_free(ticket.caller)
                self._promised.pop(ticket.caller, None)
            if self._earliest_end_of(ticket, holder) > ticket.deadline:
                raise self._too_late(holder)
            if self.captures > self._limit:
                why = f"has {self._limit} captures waiting, which is its queue_limit"
                self._make_room(ticket, self._limit, why)
        elif not ticket.is_capture and sum(not t.is_capture for t in self._tickets) >= _CONTROLS:
            why = f"has {_CONTROLS} calls waiting that read or set its controls"
            self._make_room(ticket, _CONTROLS, why)
        index = self._index_of(ticket)
        behind = self._tickets[index:]
        self._tickets.insert(index, ticket)
        for other in behind if ticket.counts else ():
            other.taken_before += 1
        return self._moved()

    def require_free(self, caller: Caller) -> None:
        """Refuse a capture that would not wait.

        Raises:
            CameraBusy: another capture is in the queue.
        """
        holder = self.holder
        if holder is None or self._was_promised(caller):
            return
        why = f"is busy with capture {holder.id!r} (busy_policy WAIT would wait for it)"
        busy = self._refusal(CameraBusy, holder, why)
        self._promised.setdefault(caller, loop_time() + (busy.retry_after_s or 0.0))
        raise busy

    async def wait_for_turn(self, ticket: Ticket) -> None:
        """Wait until every ticket before this one has ended.

        Raises:
            CameraBusy: so long that the ticket's deadline can no longer be met, as far as is known.
            QueueFull: it has lost its place to another caller.
        """
        while True:
            if ticket.refused is not None:
                raise ticket.refused
            if self._tickets[0] is ticket:
                break
            latest = self._latest_start(ticket)
            try:
                async with asyncio.timeout_at(latest):
                    await self._changed.wait()
            except TimeoutError:
                # A client that joined this capture meanwhile may have more time. The clock is not
                # asked: a timer may fire a little before its time, and would again and again.
                later = self._latest_start(ticket)
                if latest is not None and later is not None and later <= latest:
                    raise self._too_late(self._tickets[0]) from None
        ticket.started, ticket.started_ns = loop_time(), time.time_ns()

    def leave(self, ticket: Ticket) -> Sequence[Ticket]:
        """Give the place up, from anywhere in the queue; without effect where it was lost.

        Return the captures that still wait and have moved; `position` is their new one.
        """
        if ticket in self._tickets:
            if ticket.started:
                callers = {other.caller for other in self._tickets}
                self._turn = max(ticket.turn, self._turn + 1 / len(callers))
            self._tickets.remove(ticket)
        return self._moved()

    def _was_promised(self, caller: Caller) -> bool:
        """Whether a caller comes back as it was told, and others wait for the camera all the time.

        It takes its turn among them then: there is never a moment at which nobody has the camera.
        """
        now = loop_time()
        self._promised = {
            each: at for each, at in self._promised.items() if now <= at + _PROMISE_KEPT_S
        }
        return bool(self.waiting) and self._promised.get(caller, math.inf) <= now

    def _turn_of(self, ticket: Ticket) -> float:
        """Return the turn of a ticket that comes now: each caller has one in every round.

        A round is as long as there are callers in the queue, so that it ends however many new
        callers come.
        """
        own = [t.turn for t in self._tickets if t.caller == ticket.caller]
        groups = [t.turn for t in self._tickets if t.in_group and ticket.in_group]
        return max([self._turn, *(turn + 1 for turn in own), *groups])

    def _index_of(self, ticket: Ticket) -> int:
        """Return where a ticket belongs that has yet to enter."""
        later = (i for i, t in enumerate(self._tickets) if i and t.turn > ticket.turn)
        return next(later, len(self._tickets))

    def _make_room(self, newcomer: Ticket, limit: int, why: str) -> None:
        """Take a place from the caller that has most of those of a newcomer's kind.

        Raises:
            QueueFull: the newcomer's has as many.
        """
        first, same = self._tickets[0], newcomer.is_capture
        counted = {t: t.caller for t in self._tickets if t.is_capture is same and t.has_client}
        last = gives_way(counted, newcomer.caller)
        if last is None:
            raise self._refusal(QueueFull, first, why, limit=str(limit))
        why += "; most were of one caller, whose last place was given to another"
        last.refused = self._refusal(QueueFull, first, why, limit=str(limit))
        self._tickets.remove(last)

    def _moved(self) -> Sequence[Ticket]:
        """Wake up those that wait; return those that have another position than was reported."""
        self._changed.set()
        self._changed = asyncio.Event()
        moved = []
        for ahead, waiting in enumerate(other for other in self._tickets if other.counts):
            if ahead and not waiting.started and ahead != waiting.position:
                waiting.position = ahead
                moved.append(waiting)
        return moved

    def expected_s(self, ticket: Ticket) -> float:
        """Return how long a ticket's call should have the camera."""
        return self._times.expected_s + ticket.extra_s

    def expected_end(self, ticket: Ticket) -> float:
        """Return when a ticket should end, in the event loop's time."""
        now, seconds = loop_time(), self.expected_s(ticket)
        if not ticket.started:
            return now + seconds * (self._tickets.index(ticket) + 1)
        expected = ticket.started + seconds
        # Overdue: what has lasted twice as long as expected may well last as long again.
        return expected if expected > now else now + max(seconds, now - expected)

    def _earliest_end_of(self, ticket: Ticket, holder: Ticket) -> float:
        """Return when a ticket that has yet to enter ends at the earliest, as far as is known.

        Not when it should end: one slow still in ten would turn away a client that can be served.
        """
        shortest_s, now = self._times.shortest_s, loop_time()
        free = max(now, (holder.started or now) + shortest_s + holder.extra_s)
        if not ticket.position:  # the holder has not begun, and this one comes before it
            return now + shortest_s + ticket.extra_s
        return free + shortest_s * ticket.position + ticket.extra_s

    def _latest_start(self, ticket: Ticket) -> float | None:
        """Return when the first in the queue has to have ended for the deadline to be met."""
        if ticket.deadline == math.inf or not ticket.is_capture:
            return None
        between = itertools.islice(self._tickets, 1, self._tickets.index(ticket))
        stills = 1 + sum(other.counts for other in between)
        return ticket.deadline - ticket.extra_s - self._times.shortest_s * stills

    def _too_late(self, holder: Ticket) -> CameraBusy | QueueFull:
        why = f"is busy with capture {holder.id!r}, and the deadline can no longer be met"
        return self._refusal(CameraBusy, holder, why)

    def _refusal(
        self,
        kind: type[CameraBusy] | type[QueueFull],
        holder: Ticket,
        why: str,
        **metadata: str,
    ) -> CameraBusy | QueueFull:
        """Return the error of one kind: who holds the camera, and when to come back."""
        now, end = loop_time(), self.expected_end(holder)
        metadata |= {"camera": self._camera}
        if holder.is_capture:
            metadata["holder_capture_id"] = holder.id
        if holder.request_id:
            metadata["holder_request_id"] = holder.request_id
        if holder.started_ns:
            metadata["holder_start_time"] = _rfc3339(holder.started_ns)
        end_ns = time.time_ns() + int((end - now) * 1e9)
        metadata["holder_expected_end_time"] = _rfc3339(end_ns)
        wait_s = self._hints.busy_s(end, now)
        text = f"camera {self._camera!r} {why}; come back in {wait_s:.2f} s"
        return kind(text, retry_after_s=wait_s, metadata=metadata)


def _rfc3339(time_ns: int) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // 10**9))
    return f"{seconds}.{time_ns // 10**6 % 1000:03d}Z"
