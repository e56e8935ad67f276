"""A camera that rounds what it is told, and has controls of every kind."""

import time
from collections.abc import Mapping

import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.model.errors import DriverError
from camsvc.model.values import Control, ControlValue, DeviceInfo, Frame, Shot

_STEP = 0.25
_KNOWN = (
    Control("focus_distance_diopters", "float", 1.0, minimum=0.0, maximum=10.0, unit="[diop]"),
    Control("sensor_temperature", "float", 31.5, minimum=0.0, maximum=90.0, access="read"),
    Control("mirror_image", "bool", False),
    Control("owner", "string", "nobody"),
    Control("lamp", "string", "off", allowed=["off", "on"]),
)


class FussyCamera(Driver):
    """Sets its focus in quarters of a dioptre, and has no lamp although it says so."""

    name = "fussy"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._values = {control.name: control.value for control in _KNOWN}

    def open(self) -> DeviceInfo:
        return DeviceInfo(
            model="Fussy", formats=["JPEG"], has_controls=True, expected_capture_s=0.01
        )

    def capture(self, shot: Shot) -> Frame:
        return self._frame()

    def read(self) -> Frame | None:
        return None if self.interrupt.wait(0.1) else self._frame()

    def controls(self) -> list[Control]:
        named = [{name: getattr(c, name) for name in Control.__slots__} for c in _KNOWN]
        return [Control(**{**c, "value": self._values[c["name"]]}) for c in named]

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        if values.get("lamp") == "on":
            raise DriverError("the lamp does not answer")
        self._values |= values
        focus = float(self._values["focus_distance_diopters"] or 0)
        self._values["focus_distance_diopters"] = round(focus / _STEP) * _STEP

    def close(self) -> None:
        pass

    @staticmethod
    def _frame() -> Frame:
        return Frame(time.time_ns(), pixels=np.full((240, 320, 3), 90, np.uint8))
