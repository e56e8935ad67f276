"""A camera that does not exist, and fails on request.

It ships with the product: users test their own clients against it. Its faults are real ones of
its process: a hang blocks the worker's main thread, `hang_gil` the whole interpreter, `crash` is
a segmentation fault.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.simulated.test_picture import TestPicture
from camsvc.images import codec
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Frame, Shot

_FOR_EVER_S = 10**6
_PROGRESS_STEPS = 10
_PROGRESS_FROM_S = 0.5
"""Stills that take less are over before anybody could read a report."""
_ACTUATIONS = "shutter_actuations"

CONTROLS = (
    Control(
        "focus_distance_diopters",
        "float",
        0.0,
        minimum=0.0,
        maximum=15.0,
        unit="[diop]",
        description="0 is infinity, 2 is half a metre. Used when focus_mode is manual.",
    ),
    Control("focus_mode", "string", "manual", allowed=["manual", "auto"]),
    Control(
        "exposure_duration_us",
        "int",
        10_000,
        minimum=100,
        maximum=10_000_000,
        increment=1,
        unit="us",
    ),
    Control("gain", "float", 1.0, minimum=1.0, maximum=16.0),
    Control(
        _ACTUATIONS,
        "int",
        0,
        access="read",
        description="Exposures for stills so far, as a DSLR counts them; live view has none.",
    ),
)


class SimulatedCamera(Driver):
    """Any size, any rate, scripted faults.

    Calls, frames, exposures and a disconnection under way are kept in the driver state, so that
    they are counted over restarts of the worker.
    """

    name = "simulated"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._settings = settings
        self._next_read = 0.0
        self._state = state
        kept = json.loads(state.value or b"{}")
        self._calls: dict[str, int] = kept.get("calls", {})
        self._frames: int = kept.get("frames", 0)
        self._back_at: float = kept.get("back_at", 0.0)
        self._values: dict[str, ControlValue] = {
            control.name: control.value for control in CONTROLS if control.value is not None
        }
        self._values[_ACTUATIONS] = kept.get("actuations", 0)
        self._prepared = False
        self._last: Frame | None = None

    def open(self) -> DeviceInfo:
        self._call("open")
        settings = self._settings
        time.sleep(settings["open_duration_s"])
        width, height = settings["width_px"], settings["height_px"]
        self._picture = TestPicture(width, height)
        return DeviceInfo(
            model="Simulated camera",
            make="camsvc",
            formats=["JPEG", "PNG"],
            serial="SIM-0001",
            has_controls=True,
            sizes=[(width, height)],
            capture_during_live_view=settings["capture_during_live_view"],
            expected_capture_s=(
                settings["prepare_duration_s"] + settings["capture_duration_s"] + 0.01
            ),
            details={"size": f"{width}x{height}", "fps": f"{settings['fps']:g}"},
        )

    def prepare(self, shot: Shot) -> None:
        self._call("prepare")
        time.sleep(self._settings["prepare_duration_s"])
        self._prepared = True

    def capture(self, shot: Shot) -> Frame:
        kind = self._call("capture")
        if kind == "stale" and self._last is not None:
            return self._last
        if not self._prepared:
            time.sleep(self._settings["prepare_duration_s"])
        self._prepared = False
        acquired_ns = time.time_ns()
        self._values[_ACTUATIONS] = int(self._values[_ACTUATIONS]) + 1
        self._keep()
        exposure_us = int(self._values["exposure_duration_us"])
        self._expose(self._settings["capture_duration_s"] + exposure_us / 1e6)
        return self._damaged(self._paint(acquired_ns, exposure_us), kind)

    def read(self) -> Frame | None:
        now = time.monotonic()
        # Late: go on from here, as a sensor would, rather than make up for it.
        due = max(self._next_read + 1 / self._settings["fps"], now)
        if self.interrupt.wait(due - now):
            return None
        self._next_read = due
        self._prepared = False
        kind = self._call("read")
        if kind == "stale" and self._last is not None:
            return self._last
        exposure_us = int(self._values["exposure_duration_us"])
        return self._damaged(self._paint(time.time_ns(), exposure_us), kind)

    def controls(self) -> list[Control]:
        return [replace(control, value=self._values[control.name]) for control in CONTROLS]

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        self._call("set_controls")
        self._prepared = False
        self._values |= values

    def close(self) -> None:
        self._call("close")

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, Any]] = ()) -> list[Device]:
        return [Device(address="simulated", name="Simulated camera, always there")]

    def _expose(self, duration_s: float) -> None:
        if not self._settings["reports_progress"] or duration_s < _PROGRESS_FROM_S:
            time.sleep(duration_s)
            return
        started = time.monotonic()
        for step in range(1, _PROGRESS_STEPS + 1):
            due = started + duration_s * step / _PROGRESS_STEPS
            time.sleep(max(0.0, due - time.monotonic()))
            self.progress(100 * step // _PROGRESS_STEPS)

    def _paint(self, acquired_ns: int, exposure_us: int) -> Frame:
        self._frames += 1
        self._keep()
        caption = (
            f"focus {self._values['focus_distance_diopters']:g} dpt  "
            f"exposure {exposure_us / 1000:g} ms  gain {self._values['gain']:g}"
        )
        pixels = self._picture.paint(self._frames, acquired_ns, caption)
        self._last = Frame(acquired_ns, pixels=pixels, exposure_us=exposure_us)
        return self._last

    @staticmethod
    def _damaged(frame: Frame, kind: str) -> Frame:
        if kind != "corrupt" or frame.pixels is None:
            return frame
        whole = codec.encode(frame.pixels, codec.JPEG, None)
        return Frame(
            frame.acquisition_time_ns,
            encoded=bytes(whole[: len(whole) * 2 // 3]),
            mime_type="image/jpeg",
            exposure_us=frame.exposure_us,
        )

    def _keep(self) -> None:
        kept = {
            "calls": self._calls,
            "frames": self._frames,
            "actuations": self._values[_ACTUATIONS],
            "back_at": self._back_at,
        }
        self._state.save(json.dumps(kept).encode())

    def _call(self, on: str) -> str:
        """Count a call and let its fault strike; return the kind of a fault in the picture."""
        count = self._calls[on] = self._calls.get(on, 0) + 1
        self._keep()
        faults = self._settings["faults"]
        fault = next((f for f in faults if f["on"] == on and _strikes(f, count)), None)
        if fault and fault["kind"] == "disconnect":
            # A later call may meet the same fault (times > 1) while still away: no longer for it.
            self._back_at = max(self._back_at, time.monotonic() + fault["seconds"])
            self._keep()
        if self._back_at > time.monotonic():
            raise DeviceAway(f"simulated disconnection, at {on} call {count}")
        if fault is None:
            return ""
        _strike(fault, f"at {on} call {count}")
        return str(fault["kind"])


def _strikes(fault: Mapping[str, Any], count: int) -> bool:
    """Whether a fault strikes the `count`-th call of its kind."""
    first, times = fault["at"], fault["times"]
    return bool(first <= count and (times == 0 or count < first + times))


def _strike(fault: Mapping[str, Any], where: str) -> None:
    match fault["kind"]:
        case "hang":
            _hang()
        case "ignore_sigterm_hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _hang()
        case "hang_gil":
            _hang_with_gil()
        case "crash":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "error":
            raise DriverError(f"simulated error, {where}")
        case "permanent":
            raise DriverFault(
                f"simulated permanent fault, {where}; take it out of the camera's settings "
                "and reset the camera"
            )
        case "slow":
            time.sleep(fault["seconds"])


def _hang() -> NoReturn:
    while True:
        time.sleep(_FOR_EVER_S)


def _hang_with_gil() -> None:
    # PyDLL, unlike CDLL, keeps the GIL during the call.
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(2**31)
    else:
        ctypes.PyDLL(None).sleep(_FOR_EVER_S)
