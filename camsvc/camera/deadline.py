"""How long a call may take: the one home of its bound.

A call has one deadline, set when it arrives. It is the client's, or, where that is later or there
is none, the worst case that the camera publishes: every attempt in full, each after an opening.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from camsvc.model.errors import CaptureTimeout
from camsvc.model.options import CameraOptions
from camsvc.model.values import ControlValue
from camsvc.system.event_loop import loop_time

EXPOSURE = "exposure_duration_us"

_LONGEST_EXPOSURE_S = 86_400.0
"""The most time that an exposure asked for adds to a call's bound: only the camera knows what it
takes, and before it has refused an absurd value, others are given this call's expected end."""


def exposure_s(controls: Mapping[str, ControlValue]) -> float:
    """Return the exposure that control values ask for, in seconds; 0 where they ask for none."""
    value = controls.get(EXPOSURE, 0)
    if not isinstance(value, int | float) or value <= 0:
        return 0.0
    return min(value / 1e6, _LONGEST_EXPOSURE_S)


def worst_case_s(options: CameraOptions, extra_s: float = 0.0) -> float:
    """Return the longest a capture may take, in seconds; an attempt may take `extra_s` more."""
    return options.attempts * (options.open_timeout_s + options.attempt_timeout_s + extra_s)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a call ends at the latest: by its client's time-out, or by its own worst case.

    It `arrived` in the event loop's time; `timeout_s` is None where its client has none.
    """

    arrived: float
    timeout_s: float | None
    worst_case_s: float

    @classmethod
    def after(cls, timeout_s: float | None, worst_case_s: float) -> "Deadline":
        """Return the deadline of a call that arrives now."""
        return cls(loop_time(), timeout_s, worst_case_s)

    def behind(self, captures: int) -> "Deadline":
        """Return the deadline of a call that waits for so many others, each with its worst case."""
        return replace(self, worst_case_s=self.worst_case_s * (captures + 1))

    def extended(self, seconds: float) -> "Deadline":
        """Return a later deadline, unless it is the client's."""
        return replace(self, worst_case_s=self.worst_case_s + seconds)

    @property
    def limit_s(self) -> float:
        """The seconds from the arrival to the deadline."""
        return min(self.worst_case_s, math.inf if self.timeout_s is None else self.timeout_s)

    @property
    def at(self) -> float:
        """The deadline, in the event loop's time."""
        return self.arrived + self.limit_s

    @property
    def client_at(self) -> float:
        """When the client gives up; infinity where it does not say."""
        return math.inf if self.timeout_s is None else self.arrived + self.timeout_s

    @property
    def left_s(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self.at - loop_time())

    @contextlib.asynccontextmanager
    async def of_disk(self, camera: str) -> AsyncIterator[None]:
        """Bound what the body waits for of the service's disk.

        Raises:
            CaptureTimeout: it has not ended by the deadline.
        """
        try:
            async with asyncio.timeout_at(self.at):
                yield
        except TimeoutError:
            raise self.exceeded(camera, "had no answer from the service's disk") from None

    def exceeded(
        self, camera: str, what: str = "had not finished", **metadata: str
    ) -> CaptureTimeout:
        """Return the error of a call that this has ended."""
        whose = "its worst case" if self.at < self.client_at else "the call's deadline"
        return CaptureTimeout(
            f"camera {camera!r} {what} after {self.limit_s:.3g} s, which is {whose}",
            metadata={"camera": camera, **metadata},
        )
