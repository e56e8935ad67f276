"""Drivers of our own, as a user's plug-in: what the simulated camera does not do.

Settings: `driver = "plugins:Name"`, and this folder in the `PYTHONPATH` of `env`.
"""

import functools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.simulated.test_picture import TestPicture
from camsvc.images import codec
from camsvc.model import clock
from camsvc.model.errors import DeviceAway, DeviceInUse, DriverError, InvalidRequest
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, File, Frame, Shot

WIDTH, HEIGHT = 640, 480
DIFFERENT = 20
PADDING = b"\0" * 3
"""After the JPEG's end, as some cameras have it: a sign that the bytes were not touched."""

TIFF_HEAD = b"II*\0\x08\0\0\0" + b"\0" * 6
"""With one table, which is empty: a RAW file of the TIFF kind as far as the service looks."""

_SET_NS = 500_000_000
"""A wall clock that moves by less has not been set by a test."""

ENV = {"PYTHONPATH": str(Path(__file__).parent)}


@functools.cache
def encoded(number: int) -> bytes:
    """Return the JPEG that `EncodedCamera` delivers as its frame of this number."""
    pixels = TestPicture(WIDTH, HEIGHT).paint(number, 0, "by the camera itself")
    return bytes(codec.encode(pixels, codec.JPEG, 91)) + PADDING


class EncodedCamera(Driver):
    """Delivers JPEGs, and counts in its control `reads` the live frames that were read of it."""

    name = "encoded"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._interval_s = 1 / float(str(settings.get("fps", 30)))
        self._reads = 0

    def open(self) -> DeviceInfo:
        for number in range(DIFFERENT):
            encoded(number)
        return DeviceInfo("encoded", ["JPEG"], has_controls=True, capture_during_live_view=True)

    def capture(self, shot: Shot) -> Frame:
        return Frame(time.time_ns(), encoded=encoded(0), mime_type="image/jpeg")

    def read(self) -> Frame:
        time.sleep(self._interval_s)
        self._reads += 1
        data = encoded(self._reads % DIFFERENT)
        return Frame(time.time_ns(), encoded=data, mime_type="image/jpeg")

    def controls(self) -> list[Control]:
        return [Control("reads", "int", self._reads, access="read")]

    def close(self) -> None:
        pass


class HurriedCamera(EncodedCamera):
    """By its own clock 200 frames come in a second: nobody could encode each of them often."""

    name = "hurried"

    def open(self) -> DeviceInfo:
        self._begun_ns = time.time_ns()
        return super().open()

    def read(self) -> Frame:
        taken_ns = self._begun_ns + self._reads * 5_000_000
        return replace(super().read(), acquisition_time_ns=min(taken_ns, time.time_ns()))


class FileCamera(EncodedCamera):
    """Delivers the JPEG in the file of its setting `picture`, as it is at that moment."""

    name = "file"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        super().__init__(settings, state)
        self._picture = Path(str(settings["picture"]))

    def open(self) -> DeviceInfo:
        return replace(super().open(), formats=["JPEG", "PNG"])

    def capture(self, shot: Shot) -> Frame:
        return replace(super().capture(shot), encoded=self._picture.read_bytes())

    def read(self) -> Frame:
        return replace(super().read(), encoded=self._picture.read_bytes())


class TalkativeCamera(EncodedCamera):
    """Its library writes a few hundred lines to stderr for each picture."""

    name = "talkative"

    def capture(self, shot: Shot) -> Frame:
        print("one line of many\n" * 300, end="", file=sys.stderr)
        return super().capture(shot)


class IllCamera(EncodedCamera):
    """Fails from its first capture on for `ill_s` seconds, or for good; its live view is well."""

    name = "ill"
    since: float | None = None

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        super().__init__(settings, state)
        self._ill_s = float(str(settings.get("ill_s", "inf")))

    def capture(self, shot: Shot) -> Frame:
        IllCamera.since = IllCamera.since or time.monotonic()
        if time.monotonic() - IllCamera.since < self._ill_s:
            raise DriverError("Failed to queue buffer")
        return super().capture(shot)


class PluggedCamera(EncodedCamera):
    """Is attached while the file of its setting `plug` exists; one beside it may say why not."""

    name = "plugged"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        super().__init__(settings, state)
        self._plug = Path(str(settings["plug"]))

    def open(self) -> DeviceInfo:
        self.health_check()
        return super().open()

    def capture(self, shot: Shot) -> Frame:
        self.health_check()
        return super().capture(shot)

    def read(self) -> Frame:
        self.health_check()
        return super().read()

    def health_check(self) -> None:
        if not self._plug.exists():
            cause = self._plug.with_suffix(".cause")
            raise DeviceAway(cause.read_text() if cause.exists() else "it is unplugged")


class DeafCamera(PluggedCamera):
    """Delivers no live frame in a worker that has seen it unplugged, and goes on taking stills."""

    deaf = False

    def health_check(self) -> None:
        DeafCamera.deaf |= not self._plug.exists()

    def read(self) -> Frame | None:  # type: ignore[override] # as any driver may
        frame = super().read()
        return None if DeafCamera.deaf else frame


class KeepingCamera(EncodedCamera):
    """Takes no picture in its first worker, and lets go of its device with its process only."""

    kept = False

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        super().__init__(settings, state)
        self._first, self._state = not state.value, state

    def open(self) -> DeviceInfo:
        self._state.save(b"opened before")
        if KeepingCamera.kept:
            raise DeviceInUse("another program has it")
        KeepingCamera.kept = True
        return super().open()

    def capture(self, shot: Shot) -> Frame:
        if self._first:
            raise DriverError("no picture")
        return super().capture(shot)


class GovernedCamera(EncodedCamera):
    """Takes an exposure while its mode is manual, and sets controls in the order of their list."""

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        super().__init__(settings, state)
        self._values: dict[str, ControlValue] = {"mode": "auto", "exposure_duration_us": 15_700}

    def controls(self) -> list[Control]:
        mode, exposure_us = self._values.values()
        return [
            Control("mode", "string", mode, allowed=["auto", "manual"]),
            Control("exposure_duration_us", "int", exposure_us, minimum=1, maximum=100_000),
        ]

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        for name in self._values:
            if name in values:
                if name != "mode" and self._values["mode"] == "auto":
                    raise InvalidRequest(f"controls[{name}]", "not while the mode is auto")
                self._values[name] = values[name]


class TwoFilesCamera(Driver):
    """Makes a RAW file and a JPEG of each shot."""

    name = "two-files"

    def open(self) -> DeviceInfo:
        return DeviceInfo("two files", ["JPEG", "RAW"])

    def capture(self, shot: Shot) -> Frame:
        raw = File("1.RAW", "image/x-raw", TIFF_HEAD + b"raw bytes, " * 119)
        jpeg = File("1.JPG", "image/jpeg", encoded(2))
        first, other = (raw, jpeg) if shot.format == "RAW" else (jpeg, raw)
        return Frame(
            time.time_ns(),
            encoded=first.data,
            mime_type=first.mime_type,
            name=first.name,
            others=(other,),
        )

    def close(self) -> None:
        pass


class StillCamera(Driver):
    """Has no live view."""

    name = "still"

    def open(self) -> DeviceInfo:
        return DeviceInfo("still", ["JPEG"])

    def capture(self, shot: Shot) -> Frame:
        return Frame(time.time_ns(), encoded=encoded(1), mime_type="image/jpeg")

    def close(self) -> None:
        pass


class ListingCamera(EncodedCamera):
    """Lists the devices that its environment names; `OtherListingCamera` lists them, too."""

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, object]] = ()) -> list[Device]:
        places = os.environ.get("PLACES", "usb-1 usb-2 usb-3").split()
        return [Device(place, f"at {place}", "M", "", {"device": place}) for place in places]


class OtherListingCamera(ListingCamera):
    """The same of another name."""


class ClockedCamera(EncodedCamera):
    """Its shutter is open until the wall clock has been set.

    A still's time is from before that, or, of each second one, from after.
    """

    name = "clocked"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        super().__init__(settings, state)
        self._offset_ns = clock.now().offset_ns
        self._stills = 0

    def capture(self, shot: Shot) -> Frame:
        self._stills += 1
        before = super().capture(shot)
        while abs((offset_ns := clock.now().offset_ns) - self._offset_ns) < _SET_NS:
            time.sleep(0.001)
        self._offset_ns = offset_ns
        return before if self._stills % 2 else super().capture(shot)


class WrongTimesCamera(EncodedCamera):
    """Gives its second still, and each tenth live frame, a time that is `wrong_s` off."""

    name = "wrong-times"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        super().__init__(settings, state)
        self._wrong_ns = int(float(str(settings["wrong_s"])) * 1e9)
        self._stills = 0

    def capture(self, shot: Shot) -> Frame:
        self._stills += 1
        return self._dated(super().capture(shot), wrong=self._stills == 2)

    def read(self) -> Frame:
        frame = super().read()
        return self._dated(frame, wrong=self._reads % 10 == 0)

    def _dated(self, frame: Frame, *, wrong: bool) -> Frame:
        time_ns = frame.acquisition_time_ns + self._wrong_ns * wrong
        return replace(frame, acquisition_time_ns=time_ns)
