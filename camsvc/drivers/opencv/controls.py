"""Which of OpenCV's camera properties are controls, and in what unit. V4L2 devices only.

Elsewhere OpenCV does not distinguish a property of the device from one it lacks, and counts
exposure in powers of two. It reports no ranges: a value is set, read back, and refused when it
differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from camsvc.model.values import Control, ControlValue

EXPOSURE_MODE = "exposure_mode"
EXPOSURE = "exposure_duration_us"


@dataclass(frozen=True, slots=True)
class Property:
    """One property. `prop` is its name in OpenCV, without CAP_PROP_.

    `choices` are a mode's values with the numbers that stand for each, the one to try first in
    front. A number's raw value times `scale` is the control's value. `mode` names the mode that
    must be manual before the device takes a value.
    """

    name: str
    prop: str
    scale: int = 1
    unit: str = ""
    mode: str = ""
    choices: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def control(self, raw: float) -> Control:
        """Return the control at a raw value."""
        if self.choices:
            value = next((name for name, numbers in self.choices if raw in numbers), None)
            allowed = [name for name, _ in self.choices]
            return Control(self.name, "string", value, allowed=allowed)
        return Control(
            self.name,
            "int",
            round(raw) * self.scale,
            increment=self.scale,
            unit=self.unit,
            description="" if self.unit else "In the device's own steps.",
        )

    def raw(self, value: ControlValue) -> Sequence[int]:
        """Return the raw values that stand for a value, the one to try first in front."""
        if self.choices:
            return dict(self.choices)[str(value)]
        return [round(int(value) / self.scale)]


PROPERTIES = (
    # The modes come first, since they decide what else may be set.
    Property(
        EXPOSURE_MODE,
        "AUTO_EXPOSURE",
        # V4L2's menu: automatic, manual, shutter priority, aperture priority. Webcams know
        # manual and aperture priority, which is what they call automatic.
        choices=(("auto", (3, 0)), ("manual", (1, 2))),
    ),
    Property("focus_mode", "AUTOFOCUS", choices=(("auto", (1,)), ("manual", (0,)))),
    # V4L2 counts exposure in units of 100 us.
    Property(EXPOSURE, "EXPOSURE", scale=100, unit="us", mode=EXPOSURE_MODE),
    # Not focus_distance_diopters: the steps of UVC focus have no known distance.
    Property("focus_absolute", "FOCUS", mode="focus_mode"),
    Property("gain", "GAIN", mode=EXPOSURE_MODE),
    Property("brightness", "BRIGHTNESS"),
    Property("contrast", "CONTRAST"),
    Property("saturation", "SATURATION"),
    Property("sharpness", "SHARPNESS"),
)
