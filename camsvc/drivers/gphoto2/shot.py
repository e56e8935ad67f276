"""One shot of a gphoto2 camera: the shutter, then the files that it reports.

`trigger_capture` and our own wait, not the library's `capture`: that one waits 70 s for a picture
that does not come, and knows of one file only.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2 import hearing
from camsvc.drivers.gphoto2.controls import ControlTree
from camsvc.drivers.gphoto2.hearing import CONTEXT
from camsvc.drivers.gphoto2.library import Busy, Disturbed, failures
from camsvc.drivers.gphoto2.progress import Progress
from camsvc.drivers.gphoto2.refusals import NO_ROOM, refusals
from camsvc.drivers.gphoto2.transfer import DEVELOPED, JPEG
from camsvc.model.errors import DriverError, DriverFault
from camsvc.model.values import File, Frame

_SLICE_MS = 200
"""How long one wait for an event lasts."""
_NO_EVENT_S = 0.005
"""Some ports do not wait for events, but say at once that there is none."""
_BUSY_PAUSE_S = 0.1
_DRAIN_MS = 1
_MOST_DRAINED = 200

_DISTURBED_S = 2.0
"""How long a disturbance is waited out before a new connection is made."""
_BUSY_S = 2.5
"""How long a camera may refuse the shutter, as many do while they write the last picture."""
_LAST_FILE_S = 2.0
"""How long after the end of a shot, or its last file, a camera may still report another."""
_QUIET_S = 0.5
"""Without a file for so long, a camera that never reports the end of a shot has ended it."""

_STORE_FULL = "PTP Event 400a"


def drain(camera: Any, controls: ControlTree) -> None:
    """Take the events that wait, for what they say of settings.

    Raises:
        DriverError: the camera is gone. Other calls succeed all the same, from memory.
    """
    with failures("asking the camera for its events"):
        for _ in range(_MOST_DRAINED):
            kind, data = camera.wait_for_event(_DRAIN_MS, CONTEXT)
            if kind == gp.GP_EVENT_TIMEOUT:
                return
            if kind == gp.GP_EVENT_UNKNOWN:
                controls.on_event(str(data))


class ReleasedShot:
    """A shot under way. `bound_s` is how long its files may take, from now on, with the exposure.

    `places` are the folders and names of its files on the camera.
    """

    def __init__(
        self, camera: Any, controls: ControlTree, progress: Progress, bound_s: float
    ) -> None:
        self._camera = camera
        self._controls = controls
        self._progress = progress
        self._bound_s = bound_s
        self._well_at = time.monotonic()
        self._give_up = self._well_at + bound_s
        self.places: list[tuple[str, str]] = []

    def release(self, bulb_s: float | None) -> None:
        """Press the shutter; hold it for `bulb_s` seconds where the camera does not time that.

        Raises:
            Busy: the camera is, for too long.
            StorageFull, StorageUnavailable, DriverError: as `refusals`.
        """
        if bulb_s is None:
            self._press(lambda: self._camera.trigger_capture(CONTEXT))
            return
        self._press(lambda: self._controls.act("bulb", True))
        try:
            _count_down(bulb_s, self._progress)
        finally:
            self._controls.act("bulb", False)

    def _press(self, press: Callable[[], None]) -> None:
        until = min(self._give_up, time.monotonic() + _BUSY_S)
        while True:
            try:
                with refusals(self._controls):
                    return press()
            except Busy:
                if time.monotonic() >= until:
                    raise
            drain(self._camera, self._controls)
            time.sleep(_BUSY_PAUSE_S)

    def wait(self, expected: int) -> None:
        """Wait until the camera has reported the shot's files, `expected` of them if possible.

        Raises:
            DeviceAway: the camera is gone.
            Disturbed: no picture came in time.
            DriverError: the camera says that there was no room for it.
        """
        ended_at: float | None = None
        self._well_at = filed_at = time.monotonic()
        is_full = False
        while (now := time.monotonic()) < self._give_up:
            if len(self.places) >= expected and (ended_at or now > filed_at + _QUIET_S):
                return
            settled = ended_at and now > max(ended_at, filed_at) + _LAST_FILE_S
            if settled and (self.places or is_full):
                break  # the camera was set to less than its settings say, or has no room for more
            try:
                kind, data = self._next_event()
            except DriverError:
                if self.places:
                    return  # what else there is will not be reported any more
                raise
            if kind == gp.GP_EVENT_TIMEOUT:
                time.sleep(_NO_EVENT_S)
                continue
            if kind == gp.GP_EVENT_FILE_ADDED:
                filed_at = time.monotonic()
                self.places.append((data.folder, data.name))
            elif kind == gp.GP_EVENT_CAPTURE_COMPLETE:
                ended_at = time.monotonic()
            elif kind == gp.GP_EVENT_UNKNOWN:
                if str(data).startswith(_STORE_FULL):  # also said with the last that fits
                    is_full, ended_at = True, ended_at or time.monotonic()
                self._controls.on_event(str(data))
        if self.places:
            return
        if is_full:  # what the next press is answered is certain
            raise DriverError(f"no picture was made: {NO_ROOM}")
        raise Disturbed(
            "the shutter was released, but the camera reported no picture within "
            f"{self._bound_s:g} s: it could not focus, or it hangs"
        )

    def _next_event(self) -> tuple[int, Any]:
        """Return what the camera reports next, or that it has not yet; wait a disturbance out."""
        try:
            with failures("waiting for the picture"), hearing.arrivals(self._came):
                event: tuple[int, Any] = self._camera.wait_for_event(_SLICE_MS, CONTEXT)
        except (Disturbed, Busy):
            if time.monotonic() > self._well_at + _DISTURBED_S:
                raise
            time.sleep(_BUSY_PAUSE_S)
            return gp.GP_EVENT_TIMEOUT, None
        self._well_at = time.monotonic()
        return event

    def _came(self, _: int) -> None:
        """Some cameras send a file before they report it."""
        self._progress.flows()
        self._give_up = max(self._give_up, time.monotonic() + _LAST_FILE_S)


def _count_down(seconds: float, progress: Progress) -> None:
    started = time.monotonic()
    while (gone_s := time.monotonic() - started) < seconds:
        progress.exposed(gone_s / seconds)
        time.sleep(min(0.1, seconds - gone_s))


def frame_of(
    files: Sequence[File],
    failed: Mapping[str, DriverError | DriverFault],
    *,
    raw: bool,
    acquired_ns: int,
    us: int | None,
) -> Frame:
    """Return a shot's files as a frame: the one that was asked for, and the others.

    `failed` are those that did not come, or not whole, by name: of others, a warning says so.

    Raises:
        DriverError, DriverFault: the one asked for is not there, or not whole.
    """
    asked = [
        file
        for file in files
        if (file.mime_type not in DEVELOPED if raw else file.mime_type == JPEG)
    ]
    if not asked:
        if failed:
            raise next(iter(failed.values()))
        kinds = ", ".join(file.mime_type for file in files)
        raise DriverError(
            f"the camera made no {'RAW file' if raw else 'JPEG'} of the shot, but: {kinds}"
        )
    first = asked[0]
    if first.name in failed:
        raise failed[first.name]
    return Frame(
        acquired_ns,
        encoded=first.data,
        mime_type=first.mime_type,
        exposure_us=us,
        name=first.name,
        others=tuple(file for file in files if file is not first),
        announced_bytes=first.announced_bytes,
        warnings=[
            f"file {name!r} of the shot is missing or not whole: {error}"
            for name, error in failed.items()
        ],
    )
