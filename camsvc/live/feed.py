"""A camera's live view: one reader, any number of viewers, newest frame wins.

Invariants:

- A viewer holds one frame at most. A frame that it did not fetch before the next one came is
  dropped, and counted as dropped.
- Frames reach viewers only while the camera delivers them: everything else is a status.
- The worker reads only while somebody watches.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator

from camsvc.live.budget import EncoderBudget
from camsvc.live.ports import CameraFrame, LiveSource
from camsvc.live.sharing import MAX_VARIANTS
from camsvc.live.spec import LiveSpec
from camsvc.live.stall import StallDetector
from camsvc.live.statistics import LiveStatistics
from camsvc.live.variants import Variants
from camsvc.live.viewer import LiveFrame, LiveState, LiveStatus, Viewer
from camsvc.model.caller import NOBODY, Caller, gives_way
from camsvc.model.errors import (
    CameraServiceError,
    CameraUnavailable,
    CaptureTimeout,
    DriverError,
    DriverFault,
    QueueFull,
    Unsupported,
    WorkerTimeout,
)
from camsvc.model.lifecycle import State
from camsvc.model.retry_hint import SERVICE_RESTART_S, VIEWER_LEAVES_S
from camsvc.system.event_loop import loop_time
from camsvc.tasks import keep_running

HEARTBEAT_S = 1.0
"""A status is repeated this often while no frames flow."""

_LEAST_SLEEP_S = 0.005
"""A clock's rounding may let the loop wake up a moment before a heartbeat is due."""


class LiveFeed:
    """Live view of one camera. Every method must be called on the event loop."""

    def __init__(
        self, source: LiveSource, *, camera: str, stall_timeout_s: float, max_viewers: int
    ) -> None:
        self._source = source
        self._camera = camera
        self._stall = StallDetector(source, stall_timeout_s)
        self._max_viewers = max_viewers
        self.statistics = LiveStatistics()
        self._viewers: dict[Viewer, None] = {}
        """In the order in which they came."""
        self._variants = Variants()
        self._budget = EncoderBudget()
        self._state = LiveState.STARTING
        self._sequence = 0
        self._latest: OrderedDict[LiveSpec, LiveFrame] = OrderedDict()
        self._flowing_since = 0.0
        self._heartbeat_at = 0.0
        self._fault: CameraServiceError | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._frame_came = asyncio.Event()

    @property
    def watched(self) -> bool:
        """Whether anybody at all waits for frames."""
        return bool(self._viewers)

    @contextlib.contextmanager
    def watch(
        self, spec: LiveSpec, caller: Caller = NOBODY, *, counted: bool = True
    ) -> Iterator[Viewer]:
        """Give a viewer; the camera is opened if it is closed. Without viewers the reading ends.

        Raises:
            QueueFull: there are too many viewers, and no other caller has more of them.
            Unsupported: the camera has no live view.
        """
        if (unsupported := self._unsupported()) is not None:
            raise unsupported
        if counted and self.statistics.viewers >= self._max_viewers:
            self._make_room(caller)
        wish = self._variants.add(spec)
        viewer = Viewer(spec, caller, wish=wish, counted=counted, statistics=self.statistics)
        self._viewers[viewer] = None
        self.statistics.viewers += counted
        self._update_worker()
        if len(self._viewers) == 1:
            self._start()
        viewer.put_status(self._status())
        try:
            yield viewer
        finally:
            del self._viewers[viewer]
            self.statistics.viewers -= viewer.counted
            self._variants.remove(wish, spec)
            self._update_worker()
            if not self._viewers:
                if self._watchdog is not None:
                    self._watchdog.cancel()
                self.statistics.reset_rate()

    def _make_room(self, newcomer: Caller) -> None:
        """Take a place from the caller that has most of them.

        Raises:
            QueueFull: the newcomer has as many.
        """
        counted = {viewer: viewer.caller for viewer in self._viewers if viewer.counted}
        newest = gives_way(counted, newcomer)
        if newest is None:
            raise self._full("come back when one has left")
        newest.counted = False
        self.statistics.viewers -= 1
        newest.end(self._full("most were of one caller, whose newest was given to another"))

    def _full(self, more: str) -> QueueFull:
        return QueueFull(
            f"camera {self._camera!r} has {self._max_viewers} viewers, which is its max_viewers; "
            f"{more}",
            retry_after_s=VIEWER_LEAVES_S,
            metadata={"camera": self._camera, "limit": str(self._max_viewers)},
        )

    def _start(self) -> None:
        self._state = LiveState.STARTING
        self._plan_heartbeat()
        self._stall.begin()
        name = f"{self._camera} live"
        self._watchdog = asyncio.create_task(keep_running(name, self._watch), name=name)
        self._source.open()
        self.on_state_changed(self._camera, self._source.state)

    async def frame(
        self, spec: LiveSpec, *, max_age_s: float | None, timeout_s: float
    ) -> LiveFrame:
        """Return the newest frame if it is not older than `max_age_s`, else the next one.

        While frames flow, the newest one may be in another encoding only: then it is the next one.

        Raises:
            CaptureTimeout: no frame came in time.
            CameraFaulted, CameraUnavailable, Unsupported: and none will.
        """
        oldest_ns = time.monotonic_ns() - int((max_age_s or 0.0) * 1e9)
        kept = None if max_age_s is None else self._newest(spec)
        if kept is not None and kept.monotonic_ns < oldest_ns:
            kept = None
        if kept is not None and not self._has_newer(kept):
            return kept
        if kept is None:
            self._source.raise_if_unavailable()
        else:  # a newer one is worth waiting for, but not at the cost of the call
            timeout_s = min(timeout_s / 2, self._stall.timeout_s)
        try:
            with self.watch(spec, counted=False) as viewer:
                async with asyncio.timeout(timeout_s):
                    while True:
                        item = await viewer.next()
                        if isinstance(item, LiveStatus):
                            if kept is not None and item.state is not LiveState.LIVE:
                                return kept
                            self._source.raise_if_unavailable()
                        elif item.monotonic_ns >= oldest_ns:  # else it was on its way
                            return item
        except TimeoutError:
            if kept is not None:
                return kept
            raise CaptureTimeout(
                f"no frame of camera {self._camera!r} came within {timeout_s:.3g} s",
                metadata={"camera": self._camera},
            ) from None

    async def let_frame_come(self) -> None:
        """Give the camera time for a frame, where viewers have had none between its commands.

        That may delay a command once per stall time-out; if no frame comes, live view is dead.
        """
        if not (self._viewers and self._source.state is State.READY and self._stall.starved):
            return
        self._frame_came.clear()
        try:
            async with asyncio.timeout(self._stall.chance_s):
                await self._frame_came.wait()
        except TimeoutError:
            self._end_stall()

    def pause(self) -> None:
        """The camera has a command to carry out: no frames until `resume`."""
        self._stall.command_began()

    def resume(self) -> None:
        """It has done so."""
        self._stall.command_ended()
        if self._viewers:
            self._update_worker()  # its reading may have failed meanwhile, and stopped

    def end_streams(self) -> None:
        """Let all viewers go, as the service stops; callers of `frame` are still served."""
        for viewer in self._viewers:
            if viewer.counted:
                viewer.end(
                    CameraUnavailable(
                        "the service stops; come back when it has started again",
                        retry_after_s=SERVICE_RESTART_S,
                        metadata={"camera": self._camera},
                    )
                )

    async def close(self) -> None:
        """End the watchdog; for the end of the service."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.wait([self._watchdog])

    def _newest(self, spec: LiveSpec) -> LiveFrame | None:
        """Return the newest frame that looks as it would to a viewer of `spec`."""
        serving = self._variants.serving(spec)
        fitting = (
            frame
            for encoding, frame in self._latest.items()
            if serving.is_served_by(encoding, frame.image.width_px, frame.image.height_px)
        )
        return max(fitting, key=lambda frame: frame.sequence, default=None)

    def _has_newer(self, frame: LiveFrame) -> bool:
        """Whether the camera has delivered a newer frame, or may have read one."""
        if not self._viewers or self._state is not LiveState.LIVE:
            return False
        return frame.sequence < self._sequence or not self._variants.takes_every_frame

    def _unsupported(self) -> Unsupported | None:
        """Return the refusal of a camera that is known to have no live view."""
        device = self._source.device
        if device is None or device.live_view:
            return None
        return Unsupported(
            f"camera {self._camera!r} has no live view; allowed: Capture",
            metadata={"camera": self._camera},
        )

    # Hooks, called as the camera reports it.

    def on_state_changed(self, camera: str, state: State) -> None:
        """The camera is in another state."""
        if not self._viewers:
            return
        device = self._source.device
        match state:
            case State.READY:
                # Nothing is live before the first frame; a still or a recovery reset the count.
                self.statistics.reset_rate()
                if self._state in (LiveState.STARTING, LiveState.RECOVERING):
                    self._stall.begin()
                if (unsupported := self._unsupported()) is None:
                    self._update_worker()
                else:
                    for viewer in self._viewers:
                        viewer.end(unsupported)
            case State.CAPTURING:
                if device is None or not device.capture_during_live_view:
                    self._become(LiveState.PAUSED)
            case State.AWAY | State.RECOVERING:
                self._become(LiveState.RECOVERING)
            case State.FAULTED:
                self._become(LiveState.OFFLINE)
            case State.OPENING:
                self._become(LiveState.STARTING)

    def on_unavailable(self, error: CameraServiceError) -> None:
        """The camera does not come back soon: say so at once to those who wait for it."""
        if self._viewers and self._state is LiveState.RECOVERING:
            self._become(self._state)

    def on_live_failed(self, error: Exception) -> None:
        """The camera has stopped delivering frames, while no command was under way."""
        if self._source.state is not State.READY or self._stall.busy:
            return  # the call under way fails by the same
        if isinstance(error, DriverFault | DriverError):
            self._source.on_live_failed(error)
            return
        for viewer in self._viewers:  # this camera has no live view
            viewer.end(Unsupported(str(error), metadata={"camera": self._camera}))

    def on_live_frame(self, frame: CameraFrame) -> None:
        """The camera has delivered a frame."""
        if self._source.state not in (State.READY, State.CAPTURING):
            return  # read before the camera was lost, and reported after it
        if self._state is not LiveState.LIVE:
            if self._source.state is State.CAPTURING and self._state is LiveState.PAUSED:
                return  # read before the still began, and reported after it
            self._flowing_since = loop_time()
            self._become(LiveState.LIVE)
        self._count(frame)
        shown: dict[int, LiveFrame] = {}
        for image in frame.images:
            times = frame.acquisition_time_ns, frame.monotonic_ns
            encoded = LiveFrame(self._sequence, *times, image)
            shown |= dict.fromkeys(image.variants, encoded)
            for encoding in filter(None, map(self._variants.encoding, image.variants)):
                self._keep(encoding, encoded)
        chosen = self._variants.choose(shown)
        paced = {id_ for id_ in chosen.values() if self._variants.paced(id_)}
        for viewer in self._viewers:
            if (id_ := chosen.get(viewer.wish)) is not None:
                viewer.offer(shown[id_], paced=id_ in paced)
        if self._budget.is_exceeded(frame.monotonic_ns, frame.encode_s):
            self._variants.cut()
            self._update_worker()

    def _keep(self, encoding: LiveSpec, frame: LiveFrame) -> None:
        """Keep the newest frame of an encoding, and learn by it how large the camera's are."""
        self._latest[encoding] = frame
        self._latest.move_to_end(encoding)
        while len(self._latest) > MAX_VARIANTS:
            self._latest.popitem(last=False)
        size = frame.image.width_px, frame.image.height_px
        if encoding.shows_whole(*size):
            self._variants.own_px = max(size)

    def _count(self, frame: CameraFrame) -> None:
        self._stall.frame_came()
        self._frame_came.set()
        self._plan_heartbeat()
        self._sequence += 1 + frame.skipped
        self.statistics.count(frame)
        if frame.skipped:
            for viewer in self._viewers:
                viewer.dropped += frame.skipped
        flowing_s = loop_time() - self._flowing_since
        if flowing_s > self._stall.timeout_s:
            self._source.confirm_working()

    # Statuses.

    def _become(self, state: LiveState) -> None:
        self._state = state
        # A camera that is ready again has no fault, and is not LIVE before its first frame.
        self._fault = self._source.fault or self._fault
        self._plan_heartbeat()
        status = self._status()
        for viewer in self._viewers:
            viewer.put_status(status)

    def _status(self) -> LiveStatus:
        source = self._source
        reason = {
            LiveState.STARTING: "waiting for the first frame"
            if source.state is State.READY
            else "the camera is being opened",
            LiveState.LIVE: ""
            if self._stall.silent_s < HEARTBEAT_S
            else f"no frame came for {self._stall.silent_s:.1f} s",
            LiveState.PAUSED: "a still is being taken"
            if source.state is State.CAPTURING
            else "the camera carries out another call",
            LiveState.RECOVERING: f"the camera is away: {self._fault}"
            if source.state is State.AWAY
            else f"the camera is recovering: {self._fault}",
            LiveState.OFFLINE: f"the camera needs an operator: {self._fault}",
        }[self._state]
        failing = self._state in (LiveState.RECOVERING, LiveState.OFFLINE)
        error = self._fault if failing else None
        return LiveStatus(self._state, reason, self.statistics.last_frame_ns, error)

    async def _watch(self) -> None:
        """Repeat the status while no frames flow, and notice when they stop."""
        while True:
            interval_s = min(HEARTBEAT_S, self._stall.timeout_s) / 4
            interval_s = max(_LEAST_SLEEP_S, min(interval_s, self._heartbeat_at - loop_time()))
            await asyncio.sleep(interval_s)
            if self._stall.stalled and self._source.state is State.READY:
                self._end_stall()
            elif self._state is LiveState.LIVE and self._stall.busy and self._stall.silent:
                self._become(LiveState.PAUSED)  # a call lasts: the driver does one thing at a time
            elif loop_time() >= self._heartbeat_at:
                self._become(self._state)

    def _end_stall(self) -> None:
        why = f"no live frame came within {self._stall.timeout_s:g} s, the stall_timeout_s"
        if (device := self._source.device) is not None and device.max_silence_s:
            why += f" and the {device.max_silence_s:g} s for which it may be silent"
        self._source.on_live_failed(WorkerTimeout(why))

    def _plan_heartbeat(self) -> None:
        self._heartbeat_at = loop_time() + HEARTBEAT_S

    def _update_worker(self) -> None:
        wanted = self._variants.wanted
        self.statistics.variants = len(wanted)
        self._source.set_live_variants(wanted)
