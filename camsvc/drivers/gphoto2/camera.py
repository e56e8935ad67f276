"""A camera on the USB that libgphoto2 drives: DSLRs, mirrorless and compact cameras.

All calls are made on the worker's main thread: libgphoto2's cameras do not tolerate two threads.
Live view has the mirror up or the sensor running, so it is ended before each still.
"""

import contextlib
import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

try:
    import gphoto2 as gp
except ImportError as error:
    raise ImportError(
        f"python-gphoto2 is missing ({error}). pip install 'camsvc[gphoto2]' brings it, with "
        "libgphoto2, for Linux and macOS"
    ) from error

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.gphoto2 import connection, library, survey
from camsvc.drivers.gphoto2.controls import ControlTree
from camsvc.drivers.gphoto2.formats import Formats, aim
from camsvc.drivers.gphoto2.progress import Progress
from camsvc.drivers.gphoto2.shot import ReleasedShot, drain, frame_of
from camsvc.drivers.gphoto2.transfer import JPEG, Transfer
from camsvc.drivers.gphoto2.usb import Attached, Choice
from camsvc.drivers.gphoto2.warnings import aimed_at_card, warnings
from camsvc.model.errors import (
    DriverError,
    DriverFault,
    InvalidRequest,
    StorageFull,
    Unsupported,
)
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Finding, Frame, Shot

_EXPECTED_CAPTURE_S = 1.0
"""Until the service has seen some."""
_LOOK_S = 30.0
"""How often battery and card are asked for; also after each still, and on the camera's report."""
_OPENINGS_PER_RESET = 5
"""A reset of the port may be what a camera needs, or may hit one that writes to its card."""


_NOT_OPEN = "the camera is not open"

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _noting_disturbance(
    method: Callable[Concatenate["GPhoto2Camera", _P], _R],
) -> Callable[Concatenate["GPhoto2Camera", _P], _R]:
    """Remember that a call was ended by a disturbance: `recover` resets the port then only."""

    @functools.wraps(method)
    def call(self: "GPhoto2Camera", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except library.Disturbed:
            self._disturbed = True
            raise

    return call


class GPhoto2Camera(Driver):
    """One camera, selected by `model`, `serial` or `port`."""

    name = "gphoto2"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._settings = settings
        self._state = state
        self._camera: Any = None
        self._disturbed = False
        self._port = ""
        """Where the camera is, or was when it was open last, if by another worker."""
        self._info: DeviceInfo | None = None
        self._wanted: dict[str, ControlValue] = {}
        self._next_frame = 0.0
        self._live = False
        self._look_at = 0.0
        self._just_reported = False
        """Whether the camera has reported a picture, and nothing was asked of it since."""
        self._battery: ControlValue | None = None
        self._largest_kb = 0
        self._fetched: list[tuple[str, str]] = []
        self._was_full = False
        """Whether its memory was full at the last press."""

    def open(self) -> DeviceInfo:
        """Connect to the camera, and set what the settings say about its files.

        Raises:
            DeviceAway: it is not there, or another program has it.
            DriverError: it does not answer. Its USB port was reset then, the first time and now
                and then: a worker that was killed in the middle of a transfer leaves cameras that
                need it.
            DriverFault: the settings name a format that it does not have, or fit several cameras;
                or libgphoto2 misses a part of itself, where the camera was never open.
        """
        library.use(self._settings["iolibs"], self._settings["camlibs"])
        choice = Choice.of(self._settings)
        known = json.loads(self._state.value or b"{}")
        self._port, failed = known.get("port", ""), known.get("failed", 0)
        try:
            return self._begin(*connection.connect(choice, self._port))
        except library.PartMissing as error:
            if not self._port:
                raise DriverFault(str(error)) from error
            raise
        except library.Disturbed:
            self._release()
            if failed % _OPENINGS_PER_RESET == 0:
                connection.reset_selected(choice, self._port)
            self._note(failed + 1)
            raise

    @_noting_disturbance
    def capture(self, shot: Shot) -> Frame:
        """Release the shutter, and fetch all files that the camera makes of it.

        Raises:
            DeviceAway: the camera is gone.
            StorageFull, StorageUnavailable: its card takes no picture.
            DriverError: it reported no picture in time, or refused, or the picture does not come.
        """
        controls, settings = self._controls, self._settings
        drain(self.camera, controls)
        controls.doubt_exposure()
        exposure_us, bulb_s = controls.exposure_us, controls.bulb_s
        progress = Progress(self.progress)
        format_before, expected = self._formats.set_for(shot.format)
        try:
            bound_s = (exposure_us or 0) / 1e6 + settings["file_timeout_s"]
            under_way = ReleasedShot(self.camera, controls, progress, bound_s)
            acquired_ns = time.time_ns()
            self._release_shutter(under_way, bulb_s)
            under_way.wait(expected)
            transfer = Transfer(self, progress, again_s=settings["file_timeout_s"])
            files = transfer.files(under_way.places)
        finally:
            if self._camera is not None:  # which may be another connection than before
                self._formats.restore(format_before)
        if not settings["keep_on_card"]:
            self._fetched += [at for at in under_way.places if at[1] not in transfer.failed]
        self._just_reported, self._look_at = True, 0.0
        self._largest_kb = max(self._largest_kb, sum(len(file.data) for file in files) >> 10)
        frame = frame_of(
            files,
            transfer.failed,
            raw=shot.format == "RAW",
            acquired_ns=acquired_ns,
            us=exposure_us,
        )
        if (count := len(under_way.places)) < expected:
            text = f"the camera reported {count} of the {expected} files that it is set to make"
            frame = replace(frame, warnings=[*frame.warnings, text])
        return frame

    def start_live(self) -> None:
        """Begin at once; the first `read` starts the camera's live view."""
        self._next_frame, self._live = 0.0, True

    @_noting_disturbance
    def read(self) -> Frame | None:
        """Return the next frame, at the rate of the settings.

        Raises:
            Unsupported, DriverError: the camera gives none.
        """
        now = time.monotonic()
        due = max(self._next_frame, now)
        if self.interrupt.wait(due - now):
            return None
        self._next_frame = due + 1 / self._settings["live_fps"]
        with library.failures("reading a live frame"):
            try:
                data = library.contents(self.camera.capture_preview())
            except gp.GPhoto2Error as error:
                if error.code != gp.GP_ERROR_NOT_SUPPORTED:
                    raise
                raise Unsupported("this camera has no live view over USB") from error
        return Frame(time.time_ns(), encoded=data, mime_type=JPEG)

    @_noting_disturbance
    def stop_live(self) -> None:
        """End live view, so that a still finds the mirror down and the sensor free."""
        if self._live and "viewfinder" in self._controls.actions:
            self._controls.act("viewfinder", False)
        self._live = False

    @_noting_disturbance
    def controls(self) -> list[Control]:
        """Return the camera's settings; first it is asked whether it is still there."""
        just_reported, self._just_reported = self._just_reported, False
        if just_reported and self._camera is None:
            return self._controls.known  # it was lost before its last file came
        if not just_reported:
            drain(self.camera, self._controls)
        return self._controls.controls()

    @_noting_disturbance
    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        if self._camera is None:  # the library must not be asked of it any more
            raise DriverError(_NOT_OPEN)
        self._controls.put(values)
        self._wanted |= values

    @_noting_disturbance
    def health_check(self) -> DeviceInfo | None:
        """Take the camera's events; now and then, ask for its battery and its card.

        What was fetched and is not to stay on the card is deleted here, as that takes 0.3 s.
        """
        drain(self.camera, self._controls)
        while self._fetched:
            with contextlib.suppress(gp.GPhoto2Error):  # a camera that refuses keeps it
                self.camera.file_delete(*self._fetched.pop(0))
        before, now = self._info, time.monotonic()
        if before is None:
            raise DriverError(_NOT_OPEN)
        self._info = replace(before, exposure_us=self._controls.exposure_us)
        battery = self._controls.value("batterylevel")
        if now >= self._look_at or battery != self._battery:
            warned = warnings(self._camera, self._controls, self._largest_kb)
            self._info = replace(self._info, warnings=warned)
            self._look_at, self._battery = now + _LOOK_S, battery
        return self._info if self._info != before else None

    def recover(self) -> None:
        """Connect again, with the controls that were set; reset the USB port if it was disturbed.

        Raises:
            DriverError: it is gone, or does not come back.
        """
        self._reconnect(connection.connect_again if self._disturbed else connection.connect)

    def renew(self, error: DriverError) -> None:
        """Connect again in the middle of a shot; `error` is what ended the connection."""
        self._disturbed = isinstance(error, library.Disturbed)
        self._reconnect(connection.connect)

    def close(self) -> None:
        """Release the camera, its live view ended."""
        if self._camera is not None:
            with contextlib.suppress(DriverError, DriverFault):
                self.stop_live()
        self._release()

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, Any]] = ()) -> list[Device]:
        """List the cameras attached, by what lasts over plugging them in again if possible."""
        return survey.devices(configured)

    @classmethod
    def selects(cls, settings: Mapping[str, Any], found: Device) -> bool:
        """Whether settings name a device, or fit it while no other of its model is attached."""
        return survey.selects(settings, found)

    @classmethod
    def diagnose(cls, settings: Mapping[str, Any]) -> list[Finding]:
        """Say which version of the library is used, what is attached, and who holds it."""
        library.use(settings["iolibs"], settings["camlibs"])
        return survey.findings(Choice.of(settings))

    # Internals.

    @property
    def camera(self) -> Any:
        """libgphoto2's open camera.

        Raises:
            DriverError: it is not open.
        """
        if self._camera is None:
            raise DriverError(_NOT_OPEN)
        return self._camera

    def _release_shutter(self, shot: ReleasedShot, bulb_s: float | None) -> None:
        """Release it. A card that is full is so until it is changed; memory, perhaps not.

        What fills it may be pictures of a connection that ended, and go with the next one.
        """
        was_full, self._was_full = self._was_full, False
        try:
            shot.release(bulb_s)
        except StorageFull as error:
            if was_full or aimed_at_card(self._controls):
                raise
            self._was_full = True
            raise DriverError(str(error)) from error

    def _reconnect(self, connect: Callable[[Choice, str], tuple[Any, Attached]]) -> None:
        choice, known = Choice.of(self._settings), self._info
        self._release()
        if self._disturbed:
            connection.reset(self._port)
        try:
            self._begin(*connect(choice, self._port))
        except Exception:
            self._release()  # what is known of the one before must not meet this one
            raise
        self._disturbed = False
        for name, value in self._wanted.items():
            with contextlib.suppress(InvalidRequest):  # its dial was turned meanwhile
                self._controls.put({name: value})
        self._info, self._look_at = known, 0.0  # `health_check` reports what is different

    def _begin(self, camera: Any, what: Attached) -> DeviceInfo:
        self._camera, self._port = camera, what.port
        self._controls = ControlTree(camera)
        self._formats = Formats(self._controls, self._settings["image_format"] or "")
        self._formats.begin()
        aim(self._controls, self._settings["capture_target"] or "")
        if self._controls.choices("autofocus"):
            self._controls.choose("autofocus", "On" if self._settings["autofocus"] else "Off")
        can = camera.get_abilities().operations
        maker = self._controls.value("manufacturer")
        self._info = info = DeviceInfo(
            model=what.model,
            make=str(maker or ""),
            serial=what.serial,
            formats=self._formats.offered,
            has_controls=True,
            live_view=bool(can & gp.GP_OPERATION_CAPTURE_PREVIEW),
            expected_capture_s=_EXPECTED_CAPTURE_S,
            exposure_us=self._controls.exposure_us,
            warnings=warnings(camera, self._controls, self._largest_kb),
            details={"port": what.port, "serial": what.serial},
        )
        self._look_at = time.monotonic() + _LOOK_S
        self._battery = self._controls.value("batterylevel")
        self._note(failed_openings=0)
        return info

    def _note(self, failed_openings: int) -> None:
        """Keep for the next worker what it could not find out."""
        known = {"port": self._port, "failed": failed_openings}
        self._state.save(json.dumps(known).encode())

    def _release(self) -> None:
        camera, self._camera, self._live = self._camera, None, False
        if camera is not None:
            connection.disconnect(camera)
