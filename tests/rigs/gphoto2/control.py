"""What a test asks of the rig's cameras, and what they tell: a file that both sides map.

Its fields are those of `Control` in port/rig.h, in the same order: int32 each.
"""

import mmap
import struct
from enum import IntEnum
from pathlib import Path

_INT = struct.Struct("=i")
_ROOM = 4096


class Fault(IntEnum):
    """What goes wrong with each operation from now on, until it is NONE again."""

    NONE = 0
    UNPLUGGED = 1
    """Not there; a camera that was open has to be opened again when it is back."""
    IO_ERROR = 2
    BUSY = 3
    """Every operation is answered with PTP's DeviceBusy."""
    CLAIMED = 4
    """Another program has it: it cannot be opened."""
    NO_EVENTS = 5
    """Pictures are taken, and never reported."""
    NOT_LIVE = 6
    """Live view is refused in a way that has libgphoto2 try again for ever."""
    HANG = 7
    """No operation comes back before this is over."""
    WEDGED = 8
    """As IO_ERROR, until the USB port is reset."""
    UNFOCUSED = 9
    """Whoever asks it to focus before a picture gets none."""
    WRITING = 10
    """Whoever asks whether it is ready, as before each picture, is told that it is not."""


class Value(IntEnum):
    """A property that the camera keeps; its number among the fields."""

    BATTERY_PERCENT = 5
    QUALITY = 6
    """0 to 2: JPEG; 4: NEF; 5 to 7: both."""
    WHITE_BALANCE = 7
    FOCUS_MODE = 8
    EXPOSURE = 9
    """In 0.1 ms."""
    ISO = 10


class Cut(IntEnum):
    """What becomes of objects that are fetched."""

    EMPTY = 1
    HALF = 2
    PAGE = 3
    """A web page of the same size."""
    UNANNOUNCED = 4
    """Whole, but the camera says before that it has no bytes, and then nobody fetches any."""


ABSENT = -2
"""In place of a value: the camera does not have that property in its present mode."""

_CODES = (0x5001, 0x5004, 0x5005, 0x500A, 0x500D, 0x500F)
_FAULT, _FREE_MB, _DELAY_MS, _CAMERAS, _CHANGED = range(5)
_TOLD = {
    name: 11 + number
    for number, name in enumerate(
        (
            "opens",
            "captures",
            "resets",
            "frames",
            "live",
            "bulb_ms",
            "commands",
            "deletions",
            "live_stills",
            "focused",
            "waits",
        )
    )
}
_ASKED = {
    name: 22 + number
    for number, name in enumerate(
        (
            "refusal",
            "strike",
            "strike_after_kb",
            "strike_ms",
            "cut",
            "cuts",
            "kb_per_s",
            "nef_kb",
            "partial",
            "body",
            "refused",
        )
    )
}


class Control:
    """The fields. Made anew, the file has those of two well cameras."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(_ROOM))
        with path.open("r+b") as file:
            self._fields = mmap.mmap(file.fileno(), _ROOM)
        self.free_mb, self.cameras = 32_000, 2
        self.ask(nef_kb=64)
        for value, number in zip(Value, (80, 2, 2, 1, 100, 100), strict=True):
            self._put(value, number)

    def close(self) -> None:
        self._fields.close()

    @property
    def fault(self) -> Fault:
        return Fault(self._get(_FAULT))

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._put(_FAULT, fault)

    @property
    def free_mb(self) -> int:
        """What is free on the card."""
        return self._get(_FREE_MB)

    @free_mb.setter
    def free_mb(self, value: int) -> None:
        self._put(_FREE_MB, value)

    @property
    def delay_ms(self) -> int:
        """How long after the shutter the camera tells of its pictures, at least."""
        return self._get(_DELAY_MS)

    @delay_ms.setter
    def delay_ms(self, value: int) -> None:
        self._put(_DELAY_MS, value)

    @property
    def cameras(self) -> int:
        """How many are attached."""
        return self._get(_CAMERAS)

    @cameras.setter
    def cameras(self, value: int) -> None:
        self._put(_CAMERAS, value)

    def value(self, value: Value) -> int:
        """Return what a property of the camera is set to."""
        return self._get(value)

    def set(self, value: Value, number: int) -> None:
        """Set a property without a word of the camera."""
        self._put(value, number)

    def turn(self, value: Value, number: int) -> None:
        """Set a property as somebody does who turns a dial: the camera tells of it."""
        self._put(value, number)
        self._put(_CHANGED, _CODES[list(Value).index(value)])

    def refuse(self, code: int) -> None:
        """Answer the shutter with a response code of PTP; 0: press it."""
        self.ask(refusal=code)

    def strike(self, fault: Fault, after_kb: int, seconds: float) -> None:
        """Have a fault for a while, from when so much of the pictures' files has been read.

        -1: from when a property is set.
        """
        self.ask(strike_after_kb=after_kb, strike_ms=round(1000 * seconds))
        self.ask(strike=fault)

    def spoil(self, cut: Cut, count: int) -> None:
        """Spoil the next `count` objects that are fetched."""
        self.ask(cut=cut, cuts=count)

    def ask(self, **fields: int) -> None:
        """Set fields by their names in `_ASKED`.

        `kb_per_s` is how quickly objects come (0: at once), `nef_kb` the size of a NEF, `partial`
        whether objects can be fetched in parts, `body` the end of the first camera's serial number,
        where another body is there.
        """
        for name, value in fields.items():
            self._put(_ASKED[name], value)

    def told(self, name: str) -> int:
        """Return a count or a state by its name in `_TOLD`; `refused`: how often the shutter was.

        `live` is 1 during live view, `live_stills` counts the stills taken then, `focused` those
        that the camera focused before, and `waits` how often WRITING was met.
        """
        return self._get((_TOLD | _ASKED)[name])

    def _get(self, field: int) -> int:
        return int(_INT.unpack_from(self._fields, 4 * field)[0])

    def _put(self, field: int, value: int) -> None:
        _INT.pack_into(self._fields, 4 * field, value)
