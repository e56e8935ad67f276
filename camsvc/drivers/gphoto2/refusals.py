"""Why a camera does not release its shutter: what its answer means, and what a person can do.

A card that is full, missing or protected is not the camera's failure: all but stills works, and so
do stills once it has been changed. So there is nothing to recover and no use in another try, and
the call ends as one does whose picture the service's own disk cannot keep. Anything else may pass
by itself, or when the camera is switched off, and leads through recovery.
"""

import contextlib
from collections.abc import Iterator, Mapping

import gphoto2 as gp

from camsvc.drivers.gphoto2 import hearing
from camsvc.drivers.gphoto2.controls import ControlTree
from camsvc.drivers.gphoto2.library import REFUSED, Busy, failures
from camsvc.model.errors import DriverError, StorageFull, StorageUnavailable

_DOING = "releasing the shutter"
NO_ROOM = (
    "the camera has no room for another picture: its card is full (change or empty it), or its "
    "memory is, of pictures that nobody fetched (switch it off and on)"
)

_Meaning = tuple[type[Exception], str]

_FULL: _Meaning = StorageFull, NO_ROOM
_PROTECTED: _Meaning = StorageUnavailable, "the camera's card is protected: unlock or change it"
_NO_CARD: _Meaning = (
    StorageUnavailable,
    "the camera has no card that it can write to: put one in, or set `capture_target` to ram",
)
_BROKEN_CARD: _Meaning = StorageUnavailable, "the camera's card is broken: change it"
_UNFORMATTED: _Meaning = (
    StorageUnavailable,
    "the camera's card is not formatted: format it in the camera",
)
_BUSY: _Meaning = Busy, "the camera is busy with something else"
_NO_BATTERY: _Meaning = DriverError, "the camera's battery is too low: charge or change it"
_COVERED: _Meaning = DriverError, "the camera's lens is covered: remove the cover"
_BROKEN: _Meaning = DriverError, "the camera has a fault of its own: switch it off and on"
_MIRROR_UP: _Meaning = DriverError, "the camera's mirror is up: end that on the camera"
_BULB: _Meaning = DriverError, "the camera's shutter is set to bulb or time: set another speed"
_UNFOCUSED: _Meaning = DriverError, f"{REFUSED}, usually because it cannot focus"
_REFUSED: _Meaning = DriverError, REFUSED

_CODES: Mapping[int, _Meaning] = {
    0x2000: _UNFOCUSED,
    0x2002: _UNFOCUSED,
    0x2008: _NO_CARD,
    0x200C: _FULL,
    0x200D: _PROTECTED,
    0x200E: _PROTECTED,
    0x2013: _NO_CARD,
    0x2019: _BUSY,
}
"""PTP's own, ISO 15740. The undefined and the general error say no more than none."""

_MAKERS_CODES: Mapping[str, Mapping[int, _Meaning]] = {
    "nikon": {
        0xA001: _BROKEN,
        0xA002: _UNFOCUSED,
        0xA008: _BULB,
        0xA009: _MIRROR_UP,
        0xA021: _BROKEN_CARD,
        0xA022: _UNFORMATTED,
        0xA200: _BUSY,
        0xA201: _BUSY,
        0xA202: _BUSY,
        0xA204: _BULB,
        0xA207: _BUSY,
        0xA208: _MIRROR_UP,
    },
    "canon": {
        0xA006: _COVERED,
        0xA101: _NO_BATTERY,
        0xA102: _BUSY,
        0xA106: _BUSY,
    },
}
"""As libgphoto2's ptp.h names them. The same number means another thing with another maker."""

_TEXTS: Mapping[str, _Meaning] = {
    "Perhaps no more memory on card": _FULL,
    "ran full": _FULL,
    "Card read-only": _PROTECTED,
    "Perhaps no focus": _UNFOCUSED,
    "Perhaps no auto-focus": _UNFOCUSED,
}
"""What the library makes of other answers, of Canon's EOS cameras above all."""

_WEIGHT = {_UNFOCUSED: 0, _BUSY: 1}
"""Of several answers, which is the least that a press ends with."""


@contextlib.contextmanager
def refusals(controls: ControlTree) -> Iterator[None]:
    """Turn what a press of the shutter meets into what it means.

    Raises:
        StorageFull, StorageUnavailable: the camera's card takes no picture; the camera is well.
        Busy: it does something else.
        DriverError: it refuses for another reason, usually because it cannot focus.
        DeviceAway, Disturbed, DriverFault: as any call.
    """
    try:
        with hearing.wire(), failures(_DOING):
            yield
    except DriverError as error:
        raise _explained(error, controls.maker) from error.__cause__


def _explained(error: DriverError, maker: str) -> Exception:
    """Return what an error means; itself, where it says that already.

    Not to be kept in a variable there: the connection that is lost would be kept with it.
    """
    cause = error.__cause__
    if type(error) is not DriverError or not isinstance(cause, gp.GPhoto2Error):
        return error
    kind, meaning = _meaning(cause.code, maker)
    return kind(f"{_DOING} failed: {meaning} {_in_words(cause)}")


def _meaning(code: int, maker: str) -> _Meaning:
    if code == gp.GP_ERROR_NO_SPACE:
        return _FULL
    known = dict(_CODES)
    for name, codes in _MAKERS_CODES.items():
        known |= codes if name in maker.lower() else {}
    found = [known[answer] for answer in hearing.responses() if answer in known]
    found += [meaning for text, meaning in _TEXTS.items() if text in hearing.text()]
    if not found:
        return _REFUSED if hearing.responses() else _UNFOCUSED
    return max(found, key=lambda meaning: _WEIGHT.get(meaning, 2))  # a busy one was asked again


def _in_words(cause: gp.GPhoto2Error) -> str:
    answers = ", ".join(f"0x{answer:04X}" for answer in sorted(hearing.responses()))
    words = hearing.in_words(cause)
    return f"{words[:-1]}; PTP response {answers})" if answers else words
