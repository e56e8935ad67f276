"""Who may use a camera, and when the others should come back.

One line per camera, first come, first served. A capture with REJECT enters only when no other
capture is in the line, with WAIT when the line is not full; control calls wait in it too, but
keep nobody out. A turn whose client has left keeps its place until its work has ended, and counts
as nobody: the next capture enters behind it.
"""

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from camsvc.model.errors import CameraBusy, QueueFull

_SLACK_FACTOR, _SLACK_S = 1.1, 0.01
"""A promised turn is this much longer than the estimate: a client that comes back a moment too
early is refused again, and gRPC clients give up after five attempts."""

_PROMISES = 16
"""Turns promised ahead; then the promises start from the front, as most clients have left."""


_DEFAULT_S = 1.0


class Estimate:
    """How long this camera's stills take: the longest of the last ten, or the driver's guess."""

    def __init__(self) -> None:
        self.guess_s: float | None = None
        """The driver's guess, once it is known."""
        self._recent: deque[float] = deque(maxlen=10)

    def add(self, duration_s: float) -> None:
        """Note one successful attempt's duration."""
        self._recent.append(duration_s)

    @property
    def seconds(self) -> float:
        """The estimate."""
        return max(self._recent, default=self.guess_s or _DEFAULT_S)

    @property
    def least_s(self) -> float:
        """What a still takes at least, as far as is known: the shortest of the last ten."""
        return min(self._recent, default=self.guess_s or 0.0)


@dataclass(eq=False)
class Turn:
    """One call's place in a camera's line. Times without unit suffix are the event loop's."""

    id: str
    request_id: str = ""
    is_capture: bool = True
    extra_s: float = 0.0
    """What this call is expected to take beyond the camera's estimate: a longer exposure."""
    deadline: float = math.inf
    """When the last of those who wait for it gives up."""
    abandoned: bool = False
    entered: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    entered_ns: int = field(default_factory=time.time_ns)
    started_ns: int = 0
    started: float = 0.0
    attempts: int = 0
    recoveries: int = 0
    called: float = 0.0
    """When its last driver call began."""
    limit: asyncio.Timeout | None = None
    """What ends the driver call under way early, should nobody wait for it; None: there is none."""
    position: int = 0
    """How many captures were ahead when it was last told so."""
    on_moved: Callable[[int], None] = lambda position: None
    """Told the new position, once it waits behind fewer captures but still waits."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Admission:
    """The line of one camera."""

    def __init__(self, camera: str, queue_limit: int, estimate: Estimate) -> None:
        self._camera = camera
        self._queue_limit = queue_limit
        self._estimate = estimate
        self._line: deque[Turn] = deque()
        self._promised = 0.0

    @property
    def holder(self) -> Turn | None:
        """The capture that somebody waits for and that is first in the line."""
        return next((turn for turn in self._line if self._counts(turn)), None)

    @property
    def captures(self) -> int:
        """How many captures are in the line, the one under way included."""
        return sum(map(self._counts, self._line))

    @property
    def queued(self) -> int:
        """How many captures wait behind the holder."""
        return max(0, self.captures - 1)

    @property
    def idle(self) -> bool:
        """Whether nothing is in the line."""
        return not self._line

    def others_than(self, turn: Turn) -> bool:
        """Whether anybody else waits in the line."""
        return any(other is not turn and not other.abandoned for other in self._line)

    def enter(self, turn: Turn, *, wait: bool) -> None:
        """Take the last place in the line.

        Raises:
            CameraBusy: another capture is in the line, and `wait` is False or would outlast the
                turn's deadline as far as is known.
            QueueFull: `queue_limit` captures wait already.
        """
        holder = self.holder
        turn.position = self.captures
        if turn.is_capture and holder is not None:
            if not wait:
                why = f"is busy with capture {holder.id!r} (busy_policy WAIT would wait for it)"
                raise self._refused(CameraBusy, holder, why)
            if self._earliest_end_of(turn, holder) > turn.deadline:
                raise self._too_late(holder)
            if self.captures > self._queue_limit:
                why = f"has {self._queue_limit} captures waiting, which is its queue_limit"
                raise self._refused(QueueFull, holder, why, limit=str(self._queue_limit))
        self._line.append(turn)

    async def reach_front(self, turn: Turn) -> None:
        """Wait until every turn before this one has ended.

        Raises:
            CameraBusy: so long that the turn's deadline can no longer be met, as far as is known.
        """
        loop = asyncio.get_running_loop()
        while (first := self._line[0]) is not turn:
            latest = self._latest_start(turn)
            try:
                async with asyncio.timeout_at(latest):
                    await first.ended.wait()
            except TimeoutError:
                # Whoever joined this capture meanwhile may have more time. The clock is not asked:
                # a timer may fire a little before its time, and would again and again.
                later = self._latest_start(turn)
                if latest is not None and later is not None and later <= latest:
                    raise self._too_late(self._line[0]) from None
        turn.started, turn.started_ns = loop.time(), time.time_ns()

    def leave(self, turn: Turn) -> None:
        """Give the place up, from anywhere in the line, and tell those behind of theirs."""
        self._line.remove(turn)
        turn.ended.set()
        ahead = 0
        for waiting in self._line:
            if not self._counts(waiting):
                continue
            if 0 < ahead < waiting.position:
                waiting.position = ahead
                waiting.on_moved(ahead)
            ahead += 1

    def expected_end(self, turn: Turn) -> float:
        """Return when a turn should end, in the event loop's time."""
        now = asyncio.get_running_loop().time()
        seconds = self._estimate.seconds + turn.extra_s
        if not turn.started:
            ahead = self._line.index(turn)
            return now + seconds * (ahead + 1)
        expected = turn.started + seconds
        # Overdue: what has lasted twice as long as thought may well last as long again.
        return expected if expected > now else now + max(seconds, now - expected)

    def _earliest_end_of(self, turn: Turn, holder: Turn) -> float:
        """Return when a turn that has yet to enter ends at the earliest, as far as is known.

        Not when it should end: one slow still among ten would turn away who can be served.
        """
        least_s, now = self._estimate.least_s, asyncio.get_running_loop().time()
        free = max(now, (holder.started or now) + least_s + holder.extra_s)
        return free + least_s * (self.queued + 1) + turn.extra_s

    def _latest_start(self, turn: Turn) -> float | None:
        """Return when the first in the line has to have ended for a turn's deadline to be met."""
        if turn.deadline == math.inf or not turn.is_capture:
            return None
        between = itertools.islice(self._line, 1, self._line.index(turn))
        stills = 1 + sum(map(self._counts, between))
        return turn.deadline - turn.extra_s - self._estimate.least_s * stills

    def _too_late(self, holder: Turn) -> CameraBusy | QueueFull:
        why = f"is busy with capture {holder.id!r}, and the deadline can no longer be met"
        return self._refused(CameraBusy, holder, why)

    def _described(self, turn: Turn) -> dict[str, str]:
        """Return who holds the camera, for an error's metadata."""
        metadata = {"camera": self._camera, "holder_capture_id": turn.id}
        if turn.request_id:
            metadata["holder_request_id"] = turn.request_id
        if turn.started_ns:
            metadata["holder_start_time"] = _rfc3339(turn.started_ns)
        wait_s = self.expected_end(turn) - asyncio.get_running_loop().time()
        metadata["holder_expected_end_time"] = _rfc3339(time.time_ns() + int(wait_s * 1e9))
        return metadata

    def _refused(
        self,
        kind: type[CameraBusy] | type[QueueFull],
        holder: Turn,
        why: str,
        **metadata: str,
    ) -> CameraBusy | QueueFull:
        """Return the error of one kind: who holds the camera, and when to come back."""
        wait_s = self._promise(self.expected_end(holder))
        return kind(
            f"camera {self._camera!r} {why}; come back in {wait_s:.2f} s",
            retry_after_s=wait_s,
            metadata={**self._described(holder), **metadata},
        )

    def _promise(self, free: float) -> float:
        """Return after how many seconds a refused client finds the camera free.

        Each refusal is promised the turn after the last promised one: clients that were refused
        together would else come back together, and all but one be refused again.
        """
        slot = self._estimate.seconds * _SLACK_FACTOR + _SLACK_S
        following = self._promised + slot
        in_use = free <= following <= free + _PROMISES * slot
        self._promised = following if in_use else free + _SLACK_S
        return self._promised - asyncio.get_running_loop().time()

    @staticmethod
    def _counts(turn: Turn) -> bool:
        return turn.is_capture and not turn.abandoned


def _rfc3339(time_ns: int) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // 10**9))
    return f"{seconds}.{time_ns // 10**6 % 1000:03d}Z"
