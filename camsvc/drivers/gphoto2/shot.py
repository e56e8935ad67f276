"""One shot of a gphoto2 camera: the shutter, then the files that it reports.

`trigger_capture` and our own wait, not the library's `capture`: that one waits 70 s for a picture
that does not come, and knows of one file only.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2 import library
from camsvc.drivers.gphoto2.controls import ControlTree
from camsvc.drivers.gphoto2.library import CONTEXT, Busy, Disturbed, failures
from camsvc.model.errors import DriverError
from camsvc.model.values import File, Frame

JPEG = "image/jpeg"
_HEIF, _TIFF = "image/heif", "image/tiff"
_MIME_TYPES = {
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".heic": _HEIF,
    ".heif": _HEIF,
    ".hif": _HEIF,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".arw": "image/x-sony-arw",
    ".cr2": "image/x-canon-cr2",
    ".cr3": "image/x-canon-cr3",
    ".crw": "image/x-canon-crw",
    ".dng": "image/x-adobe-dng",
    ".nef": "image/x-nikon-nef",
    ".nrw": "image/x-nikon-nrw",
    ".orf": "image/x-olympus-orf",
    ".pef": "image/x-pentax-pef",
    ".raf": "image/x-fuji-raf",
    ".rw2": "image/x-panasonic-rw2",
}
"""libgphoto2 calls most of them unknown."""

_DEVELOPED = (JPEG, _HEIF, _TIFF)
"""Any other file is taken for a raw one, which makers give new names every few years."""

_SLICE_MS = 200
"""How long one wait for an event lasts."""
_NO_EVENT_S = 0.005
"""Some ports do not wait for events, but say at once that there is none."""
_BUSY_PAUSE_S = 0.1
_DRAIN_MS = 1
_MOST_DRAINED = 200

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
    """A shot under way. `bound_s` is how long its files may take, the exposure included.

    `places` are the folders and names of its files on the camera.
    """

    def __init__(self, camera: Any, controls: ControlTree, bound_s: float) -> None:
        self._camera = camera
        self._controls = controls
        self._bound_s = bound_s
        self.places: list[tuple[str, str]] = []

    def release(self, bulb_s: float | None, progress: Callable[[int], None]) -> None:
        """Press the shutter; hold it for `bulb_s` seconds where the camera does not time that.

        Raises:
            Busy: the camera is, for too long.
            DriverError: it refuses, usually because it cannot focus.
        """
        self._give_up = time.monotonic() + self._bound_s
        if bulb_s is None:
            self._press(self._trigger)
            return
        self._press(lambda: self._controls.act("bulb", True))
        try:
            _count_down(bulb_s, progress)
        finally:
            self._controls.act("bulb", False)

    def _trigger(self) -> None:
        refused = f"{library.REFUSED}, usually because it cannot focus"
        with failures("releasing the shutter", refused=refused):
            self._camera.trigger_capture(CONTEXT)

    def _press(self, press: Callable[[], None]) -> None:
        until = min(self._give_up, time.monotonic() + _BUSY_S)
        while True:
            try:
                return press()
            except Busy:
                if time.monotonic() >= until:
                    raise
            drain(self._camera, self._controls)
            time.sleep(_BUSY_PAUSE_S)

    def files(self, expected: int) -> list[File]:
        """Wait for the shot's files and fetch them, in the camera's order; `expected` at least.

        Raises:
            DeviceAway: the camera is gone.
            Disturbed: no picture came in time.
        """
        self._wait(expected)
        with failures("fetching the picture"):
            return [self._fetch(folder, name) for folder, name in self.places]

    def _wait(self, expected: int) -> None:
        ended_at: float | None = None
        filed_at = time.monotonic()
        while (now := time.monotonic()) < self._give_up:
            if len(self.places) >= expected and (ended_at or now > filed_at + _QUIET_S):
                return
            if self.places and ended_at and now > max(ended_at, filed_at) + _LAST_FILE_S:
                return  # the camera was set to less than its settings say
            with failures("waiting for the picture"):
                kind, data = self._camera.wait_for_event(_SLICE_MS, CONTEXT)
            if kind == gp.GP_EVENT_TIMEOUT:
                time.sleep(_NO_EVENT_S)
                continue
            if kind == gp.GP_EVENT_FILE_ADDED:
                filed_at = time.monotonic()
                self.places.append((data.folder, data.name))
            elif kind == gp.GP_EVENT_CAPTURE_COMPLETE:
                ended_at = time.monotonic()
            elif kind == gp.GP_EVENT_UNKNOWN:
                if str(data).startswith(_STORE_FULL):
                    raise DriverError("the camera says that its card is full: change or empty it")
                self._controls.on_event(str(data))
        if not self.places:
            raise Disturbed(
                "the shutter was released, but the camera reported no picture within "
                f"{self._bound_s:g} s: it could not focus, or it hangs"
            )

    def _fetch(self, folder: str, name: str) -> File:
        data = library.contents(self._camera.file_get(folder, name, gp.GP_FILE_TYPE_NORMAL))
        suffix = PurePosixPath(name).suffix.lower()
        return File(name, _MIME_TYPES.get(suffix, "application/octet-stream"), data)


def _count_down(seconds: float, progress: Callable[[int], None]) -> None:
    started = time.monotonic()
    while (gone_s := time.monotonic() - started) < seconds:
        progress(int(100 * gone_s / seconds))
        time.sleep(min(0.1, seconds - gone_s))


def frame_of(files: Sequence[File], *, raw: bool, acquired_ns: int, us: int | None) -> Frame:
    """Return a shot's files as a frame: the one that was asked for, and the others."""
    asked = [
        file
        for file in files
        if (file.mime_type not in _DEVELOPED if raw else file.mime_type == JPEG)
    ]
    if not asked:
        kinds = ", ".join(file.mime_type for file in files)
        raise DriverError(
            f"the camera made no {'RAW file' if raw else 'JPEG'} of the shot, but: {kinds}"
        )
    first = asked[0]
    return Frame(
        acquired_ns,
        encoded=first.data,
        mime_type=first.mime_type,
        exposure_us=us,
        name=first.name,
        others=tuple(file for file in files if file is not first),
    )
