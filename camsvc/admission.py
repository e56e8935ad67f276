"""Who may use a camera, and when the others should come back.

One line per camera, first come, first served. A capture with REJECT enters only when no other
capture is in the line, with WAIT when the line is not full; control calls wait in it too, but
keep nobody out. A turn whose client has left keeps its place until its work has ended, and counts
as nobody: the next capture enters behind it.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from camsvc.errors import CameraBusy, QueueFull

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
    def founded(self) -> bool:
        """Whether it comes from the camera, and is not a mere default."""
        return bool(self._recent) or self.guess_s is not None

    @property
    def seconds(self) -> float:
        """The estimate."""
        return max(self._recent, default=self.guess_s or _DEFAULT_S)


@dataclass(eq=False)
class Turn:
    """One call's place in a camera's line. Times without unit suffix are the event loop's."""

    id: str
    request_id: str = ""
    is_capture: bool = True
    extra_s: float = 0.0
    """What this call is expected to take beyond the camera's estimate: a longer exposure."""
    abandoned: bool = False
    entered: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    entered_ns: int = field(default_factory=time.time_ns)
    started_ns: int = 0
    started: float = 0.0
    attempts: int = 0
    attempt_started: float | None = None
    """When the driver call under way began; None when there is none."""
    recoveries: int = 0
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

    def enter(self, turn: Turn, *, wait: bool, timeout_s: float | None = None) -> None:
        """Take the last place in the line.

        Raises:
            CameraBusy: another capture is in the line, and `wait` is False or would outlast
                `timeout_s` as far as is known.
            QueueFull: `queue_limit` captures wait already.
        """
        holder = self.holder
        if turn.is_capture and holder is not None:
            too_late = timeout_s is not None and self._expected_wait_s(turn, holder) > timeout_s
            if not wait or (too_late and self._estimate.founded):
                hint = "" if wait else " (busy_policy WAIT would wait for it)"
                why = f"is busy with capture {holder.id!r}{hint}"
                raise self._refused(CameraBusy, holder, why)
            if self.captures > self._queue_limit:
                why = f"has {self._queue_limit} captures waiting, which is its queue_limit"
                raise self._refused(QueueFull, holder, why, limit=str(self._queue_limit))
        self._line.append(turn)

    async def reach_front(self, turn: Turn) -> None:
        """Wait until every turn before this one has ended."""
        while (first := self._line[0]) is not turn:
            await first.ended.wait()
        turn.started, turn.started_ns = asyncio.get_running_loop().time(), time.time_ns()

    def leave(self, turn: Turn) -> None:
        """Give the place up, from anywhere in the line."""
        self._line.remove(turn)
        turn.ended.set()

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

    def _expected_wait_s(self, turn: Turn, holder: Turn) -> float:
        """Return when a turn that has yet to enter should end, in seconds from now."""
        holder_s = self.expected_end(holder) - asyncio.get_running_loop().time()
        return holder_s + self._estimate.seconds * (self.queued + 1) + turn.extra_s

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
