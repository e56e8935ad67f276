"""EXIF for a JPEG that has none: when, how and with what it was taken.

EXIF that the camera wrote is better than ours: such a file stays as it is, byte for byte, and what
is encoded again from it has the same, but for its size and orientation. PNG and RAW files stay as
they are: few programs look for EXIF in the one, and the other has its camera's own.

Pillow writes it. A camera's `python` may lack that; then pictures go without.
"""

import functools
import json
import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from types import ModuleType

from camsvc import __version__
from camsvc.images import exif_tables, orientation, segments
from camsvc.model.values import ControlValue, DeviceInfo, Frame

NO_PILLOW = (
    "pictures carry no EXIF: the camera's `python` has no Pillow; install it there (python3-pil)"
)

_LONGEST = 0xFFFF - 2
"""What a segment holds, in bytes: the two that give its length count in it."""
_LONGEST_NAME = 200
"""Characters of a make or model: what a driver takes for one might fill the segment."""

_VERSION = b"0232"
"""EXIF 2.32, as 2.31 brought the offsets from UTC."""
_INFINITY = 0xFFFFFFFF
"""As the numerator of a distance, by the standard."""
_FARTHEST_M = 1e6

_LONGEST_ISO = 0xFFFF
"""By the standard also the value for more."""


class _Tag(IntEnum):
    MAKE = 0x010F
    MODEL = 0x0110
    SOFTWARE = 0x0131
    DATE_TIME = 0x0132
    EXIF_IFD = 0x8769
    EXPOSURE_TIME = 0x829A
    ISO_SPEED_RATINGS = 0x8827
    EXIF_VERSION = 0x9000
    DATE_TIME_ORIGINAL = 0x9003
    DATE_TIME_DIGITIZED = 0x9004
    OFFSET_TIME = 0x9010
    OFFSET_TIME_ORIGINAL = 0x9011
    OFFSET_TIME_DIGITIZED = 0x9012
    SUBJECT_DISTANCE = 0x9206
    USER_COMMENT = 0x9286
    SUB_SEC_TIME = 0x9290
    SUB_SEC_TIME_ORIGINAL = 0x9291
    SUB_SEC_TIME_DIGITIZED = 0x9292


_ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 2, 3, 4, 5, 7
_TYPES = {
    _Tag.EXIF_IFD: _LONG,
    _Tag.EXPOSURE_TIME: _RATIONAL,
    _Tag.ISO_SPEED_RATINGS: _SHORT,
    _Tag.EXIF_VERSION: _UNDEFINED,
    _Tag.SUBJECT_DISTANCE: _RATIONAL,
    _Tag.USER_COMMENT: _UNDEFINED,
}
"""By the standard; the others are `_ASCII`. Left to itself, Pillow takes BYTE for UNDEFINED."""


@functools.cache
def pillow() -> ModuleType | None:
    """Return Pillow's writer of TIFF tables, which EXIF consists of; None without Pillow."""
    try:
        from PIL import TiffImagePlugin  # noqa: PLC0415
    except ImportError:
        return None
    return TiffImagePlugin


def warnings() -> list[str]:
    """Return what a person should know of this camera's EXIF."""
    return [] if pillow() else [NO_PILLOW]


def tagged(
    data: bytes | memoryview,
    frame: Frame,
    device: DeviceInfo,
    labels_json: str,
    *,
    size_px: tuple[int, int],
) -> list[memoryview]:
    """Return a picture in pieces, to be written one after the other: no byte of it is copied.

    `labels_json` is a JSON object, or empty. Where the segment has no room for it, its comment
    says `"labels_omitted": true` instead. `size_px` is the picture's width and height.
    """
    whole = memoryview(data)
    place, has = _place(whole)
    if not place or has:
        return [whole]
    if frame.encoded is not None and (cameras := _place(memoryview(frame.encoded))[1]):
        upright = orientation.upright(cameras, *size_px)
        return [whole[:place], memoryview(upright), whole[place:]]
    tiff = pillow()
    if tiff is None:
        return [whole]
    labels = json.loads(labels_json) if labels_json else {}
    body = _body(tiff, frame, device, {"labels": labels} if labels else {})
    if len(body) > _LONGEST:
        body = _body(tiff, frame, device, {"labels_omitted": True})
    segment = struct.pack(">HH", segments.APP1, len(body) + 2) + body
    return [whole[:place], memoryview(segment), whole[place:]]


def _place(data: memoryview) -> tuple[int, memoryview | None]:
    """Return where in a JPEG the segment belongs, 0 of another file; and the one that it has.

    EXIF and JFIF each want to be first. JFIF's goes first, as Pillow, exiftool and libjpeg's own
    users write it; every reader finds both.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        return 0, None
    place = 2
    for segment in segments.find(data):
        marker, at, end = segment
        if marker == segments.SOS:
            return place, None
        if exif_tables.is_exif(data, segment):
            return place, data[at:end]
        if marker == segments.APP0 and at == place:
            place = end
    return 0, None


def _body(
    tiff: ModuleType,
    frame: Frame,
    device: DeviceInfo,
    comment: Mapping[str, object],
) -> bytes:
    seconds, rest_ns = divmod(frame.acquisition_time_ns, 10**9)
    taken = datetime.fromtimestamp(seconds, UTC).strftime("%Y:%m:%d %H:%M:%S")
    fraction = f"{rest_ns // 1000:06}"
    main: dict[_Tag, object] = {
        _Tag.MODEL: device.model[:_LONGEST_NAME],
        _Tag.SOFTWARE: f"camsvc {__version__}",
        _Tag.DATE_TIME: taken,
        _Tag.EXIF_IFD: 0,
    }
    if device.make:
        main[_Tag.MAKE] = device.make[:_LONGEST_NAME]
    details: dict[_Tag, object] = {
        _Tag.EXIF_VERSION: _VERSION,
        _Tag.DATE_TIME_ORIGINAL: taken,
        _Tag.DATE_TIME_DIGITIZED: taken,
        _Tag.OFFSET_TIME: "+00:00",
        _Tag.OFFSET_TIME_ORIGINAL: "+00:00",
        _Tag.OFFSET_TIME_DIGITIZED: "+00:00",
        _Tag.SUB_SEC_TIME: fraction,
        _Tag.SUB_SEC_TIME_ORIGINAL: fraction,
        _Tag.SUB_SEC_TIME_DIGITIZED: fraction,
    }
    if frame.exposure_us:
        details[_Tag.EXPOSURE_TIME] = tiff.IFDRational(frame.exposure_us, 10**6)
    if iso := _iso(frame.controls.get("iso")):
        details[_Tag.ISO_SPEED_RATINGS] = iso
    if metres := _distance_m(frame.controls):
        far = metres > _FARTHEST_M
        details[_Tag.SUBJECT_DISTANCE] = tiff.IFDRational(_INFINITY if far else metres)
    # EXIF's GainControl only knows low and high.
    gain = _number(frame.controls.get("gain"))
    if said := {**comment, **({} if gain is None else {"gain": gain})}:
        details[_Tag.USER_COMMENT] = _text(said)
    header = b"MM\0*\0\0\0\x08"
    # The first table points to the second, which follows it.
    main[_Tag.EXIF_IFD] = len(header) + len(_table(tiff, main, len(header)))
    body = header + _table(tiff, main, len(header))
    return exif_tables.NAME + body + _table(tiff, details, len(body))


def _table(tiff: ModuleType, values: Mapping[_Tag, object], offset: int) -> bytes:
    table = tiff.ImageFileDirectory_v2(prefix=b"MM")
    for tag, value in values.items():
        table.tagtype[tag] = _TYPES.get(tag, _ASCII)
        table[tag] = value
    return bytes(table.tobytes(offset))


def _text(values: Mapping[str, object]) -> bytes:
    """Return JSON with the code in front that says how it is written."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    if text.isascii():
        return b"ASCII\0\0\0" + text.encode()
    # The tables' own byte order, which readers take for the text's as well.
    return b"UNICODE\0" + text.encode("utf-16-be", "replace")


def _number(value: ControlValue | None) -> float | None:
    if isinstance(value, bool | str) or value is None or not math.isfinite(value):
        return None
    return value


def _iso(value: ControlValue | None) -> int:
    """Return a sensitivity, 0 where it is unknown or automatic: cameras offer "Auto", "400", ..."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() else None
    number = _number(value)
    return min(_LONGEST_ISO, max(0, round(number))) if number else 0


def _distance_m(controls: Mapping[str, ControlValue]) -> float:
    """Return what the lens is set to, in metres; 0 where that is unknown.

    On automatic, cameras report what was set last.
    """
    dioptres = _number(controls.get("focus_distance_diopters"))
    if dioptres is None or controls.get("focus_mode", "manual") != "manual":
        return 0.0
    return 1 / dioptres if dioptres > 0 else math.inf
