"""When a call is made again, and when its error is handed on.

By the contract's reasons only, never by a bare code: gRPC itself answers RESOURCE_EXHAUSTED and
UNAVAILABLE for other things. Where the service says when to come back, that is when.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass

from camsvc_client.errors import (
    CameraBusy,
    CameraUnavailable,
    CamsvcError,
    QueueFull,
    ServiceUnreachable,
)

_FIRST_S, _LAST_S = 0.1, 0.25
"""Between attempts to reach a service that is gone, before chance makes it a quarter more or less.

The channel, too, waits up to 0.2 s before it connects again. Both may add up, and no more than a
second may pass until a service that is back is found."""

_LEAST_S = 0.02
"""Even where the service says "at once"."""

_ACCURACY_S = 0.05
"""By how much the service may see a call's deadline pass before its client does."""


@dataclass(frozen=True, slots=True)
class Retry:
    """For how long the client makes calls again by itself, both in seconds.

    `give_up_after_s` bounds a call that has no time-out of its own, while the camera is busy or
    comes back; a call with a time-out goes on until that. `reconnect_s` is how long a call tries to
    reach a service that is gone; streams that have been connected once try for ever. 0: not at all.

    Example:
        client = AsyncCameraClient(address, retry=Retry(reconnect_s=60))
    """

    give_up_after_s: float = 30.0
    reconnect_s: float = 10.0


NEVER = Retry(give_up_after_s=0.0, reconnect_s=0.0)
"""Every error is handed on at once.

Example:
    client = AsyncCameraClient(address, retry=NEVER)
"""


class Repeat(enum.Flag):
    """What of a call may be answered by making it again."""

    NOTHING = 0
    BUSY = enum.auto()
    """It was refused because somebody else was first."""
    UNAVAILABLE = enum.auto()
    """It was refused because the camera is not there now."""
    LOST = enum.auto()
    """Nobody knows what became of it: only for a call that does no harm when done twice."""
    ALL = BUSY | UNAVAILABLE | LOST


class Patience:
    """One call's: tells after each failed attempt how long to wait before the next."""

    def __init__(
        self, retry: Retry, repeat: Repeat, timeout: float | None, now: Callable[[], float]
    ) -> None:
        self._retry = retry
        self._repeat = repeat
        self._now = now
        self._ends_at = None if timeout is None else now() + timeout
        self._gives_up_at = now() + retry.give_up_after_s
        self._lost_at: float | None = None
        self._pause = Pause()

    def time_left_s(self) -> float | None:
        """How long the next attempt may take; None: as long as it takes."""
        return None if self._ends_at is None else max(0.0, self._ends_at - self._now())

    def is_over(self) -> bool:
        """Whether the call's time has passed, but for what its last attempt is off by."""
        left_s = self.time_left_s()
        return left_s is not None and left_s <= _ACCURACY_S

    def progress(self) -> None:
        """Begin anew with counting, as something came."""
        self._lost_at = None
        self._pause = Pause()
        self._gives_up_at = self._now() + self._retry.give_up_after_s

    def wait_s(self, error: CamsvcError) -> float | None:
        """Return how long to wait before the next attempt; None: the error is final."""
        wait = self._lost(error) if isinstance(error, ServiceUnreachable) else self._refused(error)
        if wait is None:
            return None
        if self._ends_at is not None and self._now() + wait >= self._ends_at:
            return None
        return wait

    def _lost(self, error: ServiceUnreachable) -> float | None:
        if self._lost_at is None:
            self._lost_at = self._now()
        over = self._now() - self._lost_at >= self._retry.reconnect_s
        if over or Repeat.LOST not in self._repeat:
            return None
        return self._pause.next_s()

    def _refused(self, error: CamsvcError) -> float | None:
        self._lost_at = None
        self._pause = Pause()
        match error:
            case CameraBusy() | QueueFull():
                kind = Repeat.BUSY
            case CameraUnavailable():
                kind = Repeat.UNAVAILABLE
            case _:
                return None
        if kind not in self._repeat or error.retry_after_s is None:
            return None
        wait = max(_LEAST_S, error.retry_after_s)
        if self._ends_at is None and self._now() + wait > self._gives_up_at:
            return None
        return wait


class Pause:
    """The waits between attempts to reach a service: growing, and not the same for every client."""

    def __init__(self) -> None:
        self._base = _FIRST_S

    def next_s(self) -> float:
        """Return how long to wait, in seconds."""
        base, self._base = self._base, min(_LAST_S, self._base * 2)
        return base * random.uniform(0.75, 1.25)
