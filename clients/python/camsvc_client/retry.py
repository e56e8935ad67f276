"""Which failed calls are made again, and when.

By the contract's reasons only, never by a bare code: gRPC itself answers RESOURCE_EXHAUSTED and
UNAVAILABLE for other things. Where the service says when to come back, that is when. The figures
are those of both clients: `clients/behaviour.json`.
"""

from __future__ import annotations

import enum
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from camsvc_client.errors import (
    CameraBusy,
    CameraUnavailable,
    CamsvcError,
    QueueFull,
    RateLimited,
    ServiceUnreachable,
)

BACKOFF_INITIAL_S, BACKOFF_MAX_S = 0.1, 0.25
"""Between attempts to reach a service. The channel, too, waits up to 0.2 s before it connects.
Both add up, and a service that is back should be found within a second."""

BACKOFF_JITTER = 0.25
"""Each back-off is longer or shorter by up to this share, so that clients do not come at once."""

_random = random.SystemRandom()
"""The system's, as forked processes would have the same jitter by Python's own generator."""

_LEAST_S = 0.02
"""Even where the service says "at once"."""

_ACCURACY_S = 0.05
"""By how much the service may see a call's deadline pass before its client does."""

_MOST_S = 1e8
"""The longest time-out that gRPC is told, three years: it counts nanoseconds in 64 bits."""


def check_seconds(name: str, value: float | None) -> None:
    """Check a span of time that a caller gives, in seconds; None and infinity are for ever.

    Raises:
        ValueError: it is negative, or not a number.
    """
    if value is not None and not value >= 0:
        raise ValueError(f"{name} is {value:g} s; allowed: 0 and more")


@dataclass(frozen=True, slots=True)
class Retry:
    """For how long the client makes calls again by itself, both in seconds.

    `give_up_after_s` bounds a call without a time-out of its own, from its first refusal on, while
    the camera is busy or comes back; one with a time-out goes on until that. `reconnect_s` is how
    long a call, or a stream that was never connected, tries to reach the service; a stream that
    was tries for ever. 0: not at all; `math.inf`: for ever.

    Raises:
        ValueError: one of them is negative or not a number.

    Example:
        client = AsyncCameraClient(address, retry=Retry(reconnect_s=60))
    """

    give_up_after_s: float = 30.0
    reconnect_s: float = 10.0

    def __post_init__(self) -> None:
        check_seconds("give_up_after_s", self.give_up_after_s)
        check_seconds("reconnect_s", self.reconnect_s)


NEVER = Retry(give_up_after_s=0.0, reconnect_s=0.0)
"""Every error is raised at once, of calls with a time-out and of streams, too.

Example:
    client = AsyncCameraClient(address, retry=NEVER)
"""

FOR_EVER = Retry(give_up_after_s=math.inf, reconnect_s=math.inf)


@dataclass(frozen=True, slots=True)
class Retried:
    """An attempt that has failed, and is made again.

    `call` is the RPC, such as "Capture". `error` is why. `wait_s` is after how long the next
    attempt is made, and `elapsed_s` how long ago the call began or, of a stream, something last
    came; in seconds.

    Example:
        def tell(retried: Retried) -> None:
            print(f"{retried.call} waits {retried.wait_s:.1f} s: {retried.error}")

        client = AsyncCameraClient(address, on_retry=tell)
    """

    call: str
    error: CamsvcError
    wait_s: float
    elapsed_s: float


OnRetry = Callable[[Retried], None]


class RetryOn(enum.Flag):
    """After which failures a call is made again."""

    NOTHING = 0
    BUSY = enum.auto()
    """It was refused because somebody else was first."""
    UNAVAILABLE = enum.auto()
    """It was refused because the camera is away or recovers."""
    UNREACHABLE = enum.auto()
    """Its answer was lost: only for a call that does no harm when done twice."""
    ALL = BUSY | UNAVAILABLE | UNREACHABLE


_REFUSALS: dict[type[CamsvcError], RetryOn] = {
    CameraBusy: RetryOn.BUSY,
    QueueFull: RetryOn.BUSY,
    RateLimited: RetryOn.BUSY,
    CameraUnavailable: RetryOn.UNAVAILABLE,
}


class RetrySchedule:
    """Decides after each failed attempt of one call how long to wait before the next.

    `on_retry` is told of each that is made again; `call` is its name there.

    Raises:
        ValueError: the time-out is negative or not a number.
    """

    def __init__(
        self,
        retry: Retry,
        timeout: float | None = None,
        retry_on: RetryOn = RetryOn.ALL,
        *,
        call: str = "",
        on_retry: OnRetry | None = None,
    ) -> None:
        check_seconds("timeout", timeout)
        self._retry = retry
        self._retry_on = retry_on
        self._ends_at = math.inf if timeout is None else time.monotonic() + timeout
        self._call = call
        self._on_retry = on_retry
        self.reset()

    def time_left_s(self) -> float | None:
        """How long the next attempt may take; None: as long as it takes."""
        left_s = self._ends_at - time.monotonic()
        return None if left_s == math.inf else min(max(0.0, left_s), _MOST_S)

    def is_over(self) -> bool:
        """Whether the call's time has passed, within the accuracy of two clocks."""
        return self._ends_at - time.monotonic() <= _ACCURACY_S

    def reset(self) -> None:
        """Begin again, as something was received; the call's own time-out stays."""
        self._begun_at = time.monotonic()
        self._unreachable_since: float | None = None
        self._backoff_s = BACKOFF_INITIAL_S
        self._refused_since: float | None = None

    def wait_s(self, error: CamsvcError) -> float | None:
        """Return how long to wait before the next attempt; None: the error is final."""
        now = time.monotonic()
        unreachable = isinstance(error, ServiceUnreachable)
        wait = self._unreachable(now) if unreachable else self._refused(error, now)
        if wait is None or now + wait >= self._ends_at:
            return None
        if self._on_retry:
            self._on_retry(Retried(self._call, error, wait, now - self._begun_at))
        return wait

    def _unreachable(self, now: float) -> float | None:
        self._unreachable_since = self._unreachable_since or now
        over = now - self._unreachable_since >= self._retry.reconnect_s
        if over or RetryOn.UNREACHABLE not in self._retry_on:
            return None
        base, self._backoff_s = self._backoff_s, min(BACKOFF_MAX_S, self._backoff_s * 2)
        return base * _random.uniform(1 - BACKOFF_JITTER, 1 + BACKOFF_JITTER)

    def _refused(self, error: CamsvcError, now: float) -> float | None:
        self._unreachable_since = None
        self._backoff_s = BACKOFF_INITIAL_S
        kind = _REFUSALS.get(type(error), RetryOn.NOTHING)
        if not kind & self._retry_on or error.retry_after_s is None:
            return None
        wait = max(_LEAST_S, error.retry_after_s)
        self._refused_since = self._refused_since or now
        refused_s = now + wait - self._refused_since
        bounded = self._ends_at == math.inf or self._retry.give_up_after_s == 0
        return None if bounded and refused_s > self._retry.give_up_after_s else wait
