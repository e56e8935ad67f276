"""A camera module of a Raspberry Pi, through Picamera2 and libcamera.

Raspberry Pi OS installs both for the system's interpreter only, so that is what the worker runs
under. A still has a configuration of its own, at the sensor's full size, live view another. The
camera stays in the one it was last used in: of a scan's stills only the first pays for the switch.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.picamera2 import library, modes, nodes, pixels
from camsvc.drivers.picamera2.clock import acquired_ns
from camsvc.drivers.picamera2.controls import FOCUS_MODE, PiControls
from camsvc.drivers.picamera2.library import PiCamera, Request, library_errors
from camsvc.drivers.picamera2.modes import LIVE, STILL
from camsvc.drivers.picamera2.select import resolve
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Finding, Frame, Shot

_EXPECTED_S = 0.5
"""A still with a change of configuration before it, on a Pi."""
_SETTLE_FRAMES = 10
"""Frames after a change that may still be on their way to what was set."""
_LONG_EXPOSURE_US = 250_000
"""From here on the camera is restarted rather than waited for: those frames would take 3 s."""
_FOCUS_S = 3.0
"""A lens that has found nothing by then finds nothing."""
_AF_START, _AF_SCANNING = 0, 1
"""libcamera's AfTrigger and AfState."""
_DNG = "image/x-adobe-dng"


class Picamera2Camera(Driver):
    """One camera module."""

    name = "picamera2"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._settings = settings
        self._camera: PiCamera | None = None
        self._configurations: dict[str, dict[str, Any]] = {}
        self._mode = ""
        self._outdated = False
        """Whether frames under way are long ones that are not needed."""
        self._unsettled = 0
        self._focused = False

    def open(self) -> DeviceInfo:
        """Open the camera, learn what it makes of both configurations, and await its first frames.

        Raises:
            DeviceAway: it is not there, or another program holds it.
            DriverError: it gives no frames.
            DriverFault: the settings select several cameras, or one whose picture format is not
                that of a camera module.
        """
        found = resolve(self._settings["source"], library.attached())
        self._camera = camera = PiCamera(found["Num"])
        with library_errors("making the camera's configurations"):
            self._configurations = modes.asked(self._settings, camera.library)
        details: dict[str, str] = {}
        warnings: list[str] = []
        for mode, configuration in reversed(self._configurations.items()):  # stills' is the last
            given = camera.configure(configuration)
            for stream in filter(given.get, ("main", "lores")):
                pixels.check(given[stream]["format"])
            details |= modes.sizes(mode, given)
            warnings += modes.differences(self._settings, mode, given)
        self._mode = STILL
        self._controls = PiControls(camera.known_controls)
        self._start()
        for _ in range(self._settings["warmup_frames"]):
            with self._next():
                pass
        return DeviceInfo(
            model=found["Model"],
            formats=["JPEG", "PNG", *(["RAW"] if given.get("raw") else [])],
            has_controls=bool(self._controls.list()),
            sizes=[given["main"]["size"]],
            capture_during_live_view=self._settings["capture_during_live_view"],
            expected_capture_s=_EXPECTED_S,
            details=details,
            warnings=warnings,
        )

    def prepare(self, shot: Shot) -> None:
        """Do all that comes before the exposure: the still's configuration, controls, focus."""
        self._enter(STILL)
        while self._unsettled and not self._exposes_long:
            with self._next() as request:
                self._settle(request.get_metadata())
        self._focus()

    def capture(self, shot: Shot) -> Frame:
        """Return a picture whose exposure began after this call, with the controls as set.

        A long one begins at once: stopping the camera ends the exposure that is under way.

        Raises:
            DriverError: no frame comes.
        """
        asked_ns = time.monotonic_ns()
        self._outdated = self._outdated or self._exposes_long
        self._enter(STILL)
        self._focus()
        while True:
            with self._next() as request:
                metadata = request.get_metadata()
                self._settle(metadata)
                begun_ns = metadata["SensorTimestamp"] - 1000 * metadata.get("ExposureTime", 0)
                if begun_ns >= asked_ns and not self._unsettled:
                    self._focused = False
                    return self._frame(request, metadata, "main", shot.format)

    def start_live(self) -> None:
        self._enter(LIVE)

    def read(self) -> Frame | None:
        self._enter(LIVE)
        with self._open_one.picture(self._timeout_s, unless=self.interrupt) as request:
            if request is None:
                return None
            stream = "lores" if self._settings["capture_during_live_view"] else "main"
            return self._frame(request, request.get_metadata(), stream)

    def controls(self) -> list[Control]:
        return self._controls.list() if self._camera is not None else []

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        """Send controls to the camera; the next still waits until frames have them.

        Raises:
            InvalidRequest: the camera would ignore a value.
        """
        self._outdated = self._outdated or self._exposes_long
        self._controls.change(values)
        self._focused = False
        self._open_one.set_controls(self._controls.library_values())
        # Those under way were asked for before.
        self._unsettled = self._open_one.buffers + _SETTLE_FRAMES

    def recover(self) -> None:
        """Restart a stuck ISP, as its users do.

        Raises:
            DriverError: it still gives no frame.
        """
        self._open_one.recover(self._controls.library_values())
        self._started()
        with self._next():
            pass

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, Any]] = ()) -> list[Device]:
        """List the camera modules; webcams are the v4l2 driver's."""
        return [
            Device(about["Id"], about["Model"], about["Model"], "", {"source": about["Id"]})
            for about in library.attached()
            if "/usb" not in about["Id"]
        ]

    @classmethod
    def selects(cls, settings: Mapping[str, Any], device: Device) -> bool:
        try:
            found = resolve(settings["source"], library.attached())
        except (DeviceAway, DriverFault):
            return False
        return bool(found["Id"] == device.address)

    @classmethod
    def diagnose(cls, settings: Mapping[str, Any]) -> list[Finding]:
        """Say what libcamera sees, what this user may not open, and who has a camera open."""
        cameras = library.attached()
        try:
            found = resolve(settings["source"], cameras)
        except (DeviceAway, DriverFault) as error:
            return [Finding(False, str(error), "Is the cable in?"), *nodes.forbidden()]
        seen = Finding(True, f"attached: {found['Model']}; {library.versions()}")
        return [seen, *nodes.forbidden(), *nodes.in_use(alone=len(cameras) == 1)]

    @property
    def _open_one(self) -> PiCamera:
        if self._camera is None:
            raise DriverError("the camera is not open")
        return self._camera

    @property
    def _timeout_s(self) -> float:
        return float(self._settings["frame_timeout_s"] + self._open_one.longest_exposure_s)

    @property
    def _exposes_long(self) -> bool:
        return self._controls.exposure_us >= _LONG_EXPOSURE_US

    def _enter(self, mode: str) -> None:
        """Have frames of a configuration flow, and no outdated ones."""
        if mode not in self._configurations:  # live view and stills share one
            mode = STILL
        before, self._mode = self._mode, ""  # until it is done: a failure leaves neither
        if mode != before:
            self._open_one.configure(self._configurations[mode])
            self._start()
        elif self._outdated:
            self._open_one.stop()
            self._start()
        self._mode = mode

    def _start(self) -> None:
        self._open_one.start(self._controls.library_values())
        self._started()

    def _started(self) -> None:
        self._outdated = False
        # The first frame is taken with what is set already. Of long ones that has to do.
        self._unsettled = 0 if self._exposes_long else _SETTLE_FRAMES

    def _next(self) -> AbstractContextManager[Request]:
        return self._open_one.picture(self._timeout_s)

    def _settle(self, metadata: Mapping[str, Any]) -> None:
        """Count a frame among those that may be on their way yet to what was set."""
        if self._unsettled <= _SETTLE_FRAMES and self._controls.reached(metadata):
            self._unsettled = 0
        else:
            self._unsettled = max(0, self._unsettled - 1)

    def _focus(self) -> None:
        """Have the lens focus once, where that is left to the camera; unless it just has."""
        if self._controls.set.get(FOCUS_MODE) != "auto" or self._focused:
            return
        camera = self._open_one
        camera.set_controls({"AfTrigger": _AF_START})
        give_up = time.monotonic() + _FOCUS_S
        seen_scanning = False
        while time.monotonic() < give_up:
            with self._next() as request:
                state = request.get_metadata().get("AfState")
            seen_scanning = seen_scanning or state == _AF_SCANNING
            if state is None or (seen_scanning and state != _AF_SCANNING):
                break
        self._focused = True

    def _frame(
        self, request: Request, metadata: Mapping[str, Any], stream: str, image_format: str = ""
    ) -> Frame:
        exposure_us = metadata.get("ExposureTime")
        known: dict[str, Any] = {
            "acquisition_time_ns": acquired_ns(
                metadata["SensorTimestamp"], time.monotonic_ns(), time.time_ns()
            ),
            "exposure_us": round(exposure_us) if exposure_us else None,
            "controls": self._controls.reported(metadata),
        }
        with library_errors("reading the picture"):
            if image_format == "RAW":
                return Frame(**known, encoded=_dng(request), mime_type=_DNG)
            about = request.config[stream]
            with library.mapped(request, stream) as array:
                own = pixels.bgr(array, about["format"], about["size"])
        return Frame(**known, pixels=own)


def _dng(request: Request) -> bytes:
    """Return the raw stream's picture as a DNG. Only a path is taken by all versions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "still.dng"
        request.save_dng(str(path))
        return path.read_bytes()
