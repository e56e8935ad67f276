"""What a person should look at soon: a camera's battery, and the card that it writes to."""

import re
from typing import Any

import gphoto2 as gp

from camsvc.drivers.gphoto2.controls import ControlTree

_LOW_PERCENT = 20
_LOW = ("low", "very low", "empty", "exhausted")
"""What cameras say that give no percentage."""

_FEW_PICTURES, _LITTLE_KB = 10, 200_000
"""A card with room for fewer pictures, or for less than this, needs changing soon."""


def warnings(camera: Any, controls: ControlTree, largest_kb: int) -> list[str]:
    """Return one plain sentence each; `largest_kb` is what a shot took at most."""
    return _battery(str(controls.value("batterylevel") or "")) + (
        _card(camera, largest_kb) if aimed_at_card(controls) else []
    )


def _battery(level: str) -> list[str]:
    percent = re.match(r"(\d+) ?%", level)
    if percent and int(percent[1]) <= _LOW_PERCENT:
        return [f"battery at {percent[1]} %"]
    return [f"battery {level.lower()}"] if level.lower() in _LOW else []


def aimed_at_card(controls: ControlTree) -> bool:
    """Whether the camera keeps pictures on its card, and not in its memory."""
    return "card" in str(controls.value("capturetarget") or "").lower()


def _card(camera: Any, largest_kb: int) -> list[str]:
    try:
        cards = camera.get_storageinfo()
    except gp.GPhoto2Error:
        return []  # it does not say; its next use will
    free = [c.freekbytes for c in cards if c.fields & gp.GP_STORAGEINFO_FREESPACEKBYTES]
    if not cards:
        return ["no memory card"]
    if free and max(free) < max(_LITTLE_KB, _FEW_PICTURES * largest_kb):
        return [f"memory card nearly full: {max(free) >> 10} MB free"]
    return []
