"""A camera's shutter speeds as one control in microseconds, with bulb for what is longer."""

import math
import re

from camsvc.model.values import Control

EXPOSURE = "exposure_duration_us"

_LONGEST_BULB_US = 3_600_000_000
_NEARLY = 1.2
"""Beyond the longest speed by more than this, it is a bulb exposure."""

_SPEED = re.compile(r'(\d+(?:\.\d+)?)(?:/(\d+(?:\.\d+)?))?\s*(?:s|sec|")?')


class Exposure:
    """The setting `name` of libgphoto2, such as `shutterspeed`; `bulb`: it can be held open."""

    def __init__(self, name: str, *, bulb: bool) -> None:
        self.name = name
        self._has_bulb = bulb
        self.bulb_us = 0
        """The exposure that is to be timed by the driver; 0: none."""
        self._speeds: dict[int, str] = {}
        self._bulb = ""

    def control(self, choices: list[str], value: str) -> Control | None:
        """Return the control for what the camera offers; None where that has no times in it."""
        self._speeds = {us: text for text in choices if (us := _microseconds(text))}
        named = (text for text in choices if text.lower() == "bulb")
        self._bulb = next(named, "") if self._has_bulb else ""
        if not self._speeds or value != self._bulb:
            self.bulb_us = 0
        if not self._speeds:
            return None
        longest = _LONGEST_BULB_US if self._bulb else max(self._speeds)
        return Control(
            EXPOSURE,
            "int",
            self.bulb_us or _microseconds(value),
            minimum=min(self._speeds),
            maximum=longest,
            unit="us",
            description="The nearest shutter speed is taken; beyond the slowest, bulb",
        )

    def choose(self, wanted_us: int) -> str:
        """Return the choice for an exposure, and keep what has to be timed."""
        if self._bulb and wanted_us > _NEARLY * max(self._speeds):
            self.bulb_us = wanted_us
            return self._bulb
        self.bulb_us = 0
        nearest = min(self._speeds, key=lambda us: abs(math.log(us / max(1, wanted_us))))
        return self._speeds[nearest]


def _microseconds(text: str) -> int | None:
    """Return how long a speed is that reads 1/250, 0.0040s, 30 or 1.3"; None for any other text."""
    match = _SPEED.fullmatch(text.strip())
    if not match:
        return None
    seconds = float(match[1]) / float(match[2] or 1)
    return round(seconds * 1e6) or None
