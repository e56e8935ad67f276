"""What a viewer of a live view is given, and the viewer: one frame at most, the newest."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from camsvc.live.ports import EncodedImage
from camsvc.live.spec import LiveSpec
from camsvc.live.statistics import LiveStatistics
from camsvc.live.variants import Wish
from camsvc.model.caller import Caller
from camsvc.model.errors import CameraServiceError
from camsvc.model.frame_rate import FrameRateLimiter


class LiveState(Enum):
    """A live view's states."""

    STARTING = "STARTING"
    LIVE = "LIVE"
    PAUSED = "PAUSED"
    RECOVERING = "RECOVERING"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """Why there are no frames, or that they flow again."""

    state: LiveState
    reason: str
    last_frame_ns: int
    error: CameraServiceError | None


@dataclass(eq=False, slots=True)
class LiveFrame:
    """One encoded frame, the same for all viewers of its variant.

    `sequence` rises with every frame of the camera. It was taken at `acquisition_time_ns`, in Unix
    time, and at `monotonic_ns` of the machine's monotonic clock, by which its age counts. `wires`
    is where the contract's side keeps serialised forms.
    """

    sequence: int
    acquisition_time_ns: int
    monotonic_ns: int
    image: EncodedImage
    wires: dict[tuple[int, int], bytes] = field(default_factory=dict)


class Viewer:
    """One stream's end. Made by `LiveFeed.watch`."""

    def __init__(
        self,
        spec: LiveSpec,
        caller: Caller,
        *,
        wish: Wish,
        counted: bool,
        statistics: LiveStatistics,
    ) -> None:
        self.caller = caller
        self.wish = wish
        self.counted = counted
        """Whether it counts as a viewer; a call of GetFrame does not, nor one without a place."""
        self.dropped = 0
        self._statistics = statistics
        self._pacer = FrameRateLimiter(spec.max_fps)
        self._frame: LiveFrame | None = None
        self._status: LiveStatus | None = None
        self._ended: CameraServiceError | None = None
        self._wake = asyncio.Event()

    async def next(self) -> LiveFrame | LiveStatus:
        """Wait for the next frame or status; a status comes first.

        Raises:
            Unsupported: the camera has turned out to have no live view.
            QueueFull: its place is another caller's now.
            CameraUnavailable: the service stops.
        """
        while True:
            if self._ended is not None:
                raise self._ended
            if self._status is not None:
                status, self._status = self._status, None
                return status
            if self._frame is not None:
                frame, self._frame = self._frame, None
                self._statistics.sent_total += self.counted
                return frame
            self._wake.clear()
            await self._wake.wait()

    def offer(self, frame: LiveFrame, *, paced: bool) -> None:
        """Put a frame in place of the one not fetched yet, which is dropped.

        `paced` says that the worker has selected by this viewer's rate already.
        """
        if not paced and not self._pacer.takes(frame.monotonic_ns / 1e9):
            return
        if self._frame is not None:
            self.dropped += 1
            self._statistics.dropped_total += 1
        self._frame = frame
        self._wake.set()

    def put_status(self, status: LiveStatus) -> None:
        """Put a status; frames from before it are outdated, unless it says that they flow."""
        if status.state is not LiveState.LIVE:
            self._frame = None
        self._status = status
        self._wake.set()

    def end(self, why: CameraServiceError) -> None:
        """Let `next` raise from now on."""
        self._ended = why
        self._wake.set()
