"""The one gate for a driver's pictures: checked here, once, before anything else touches them.

What is wrong with the picture refuses it, and the text says what is allowed. What is wrong with
something beside it (a control's value, a second file of the shot) does not cost the picture: it is
left out, or kept as it is, and the picture has a warning of it.
"""

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from camsvc.images import completed, jpeg, pixels
from camsvc.images import raw as raw_file
from camsvc.images.codec import Picture
from camsvc.ipc.shared_memory import SLOT_BYTES
from camsvc.model import clock, filetype
from camsvc.model.errors import DriverError, in_words, line, sendable, short
from camsvc.model.limits import LINE_CHARACTERS, MAX_EXPOSURE_US
from camsvc.model.values import (
    MAX_CONTROLS,
    MAX_OTHERS,
    MAX_WARNINGS,
    Control,
    ControlValue,
    File,
    Frame,
    Shot,
)

_NAME_CHARACTERS = 255
_FEW_BITS = 12


def still(given: object, shot: Shot, asked: clock.Moment, controls: object) -> Picture:
    """Return a still that may be kept. `controls` are what the driver says of them after it.

    Its frame's time is that by the wall clock, its controls all that are known, its pixels as
    `images.pixels` has them, and of a file, the type is what it is.

    Raises:
        DriverError: it is no picture, not whole, not of the format, or older than `asked`.
    """
    frame, taken = _passed(given, asked, raw=shot.format == "RAW")
    if taken.monotonic_ns < asked.monotonic_ns:
        age_s = (asked.monotonic_ns - taken.monotonic_ns) / 1e9
        raise DriverError(f"stale picture: taken {age_s:.3f} s before it was asked for")
    odd = _dark(frame)
    values = {**_values(_settings(controls), odd), **_values(frame.controls, odd)}
    checked = replace(
        frame,
        acquisition_time_ns=taken.wall_ns,
        exposure_us=_exposure_us(frame.exposure_us, odd),
        controls=dict(islice(values.items(), MAX_CONTROLS)),
        name=_name(frame.name),
        others=_others(frame.others, odd),
    )
    own = [text for text in _each(frame.warnings) if isinstance(text, str)]
    warnings = [line(text, LINE_CHARACTERS) for text in (own + odd)[:MAX_WARNINGS]]
    return Picture(replace(checked, warnings=warnings))


def live(given: object, asked: clock.Moment) -> tuple[Picture, clock.Moment]:
    """Return a live frame that may be shown, as `still` does, and when it was taken.

    Raises:
        DriverError: it is no picture, or not whole.
    """
    frame, taken = _passed(given, asked, raw=False)
    return Picture(frame), taken


# The picture.


def _passed(given: object, asked: clock.Moment, *, raw: bool) -> tuple[Frame, clock.Moment]:
    if not isinstance(given, Frame):
        raise DriverError(f"the camera's driver gave {in_words(given)} instead of a frame")
    taken = clock.acquired(given.acquisition_time_ns, asked)
    if given.pixels is not None and given.encoded is not None:
        raise DriverError("the camera's driver gave a frame with both pixels and a file")
    if given.pixels is not None:
        if raw:
            raise DriverError("the camera's driver gave pixels instead of a RAW file")
        return replace(given, pixels=pixels.checked(given.pixels, given.bits)), taken
    if given.encoded is None:
        raise DriverError("the camera's driver gave a frame with neither pixels nor a file")
    file = _known(File("", given.mime_type, given.encoded, given.announced_bytes), raw=raw)
    return replace(given, encoded=file.data, mime_type=file.mime_type), taken


def _known(file: File, *, raw: bool | None) -> File:
    """Return a file with what it is. `raw`: whether it has to be a RAW file; None: any picture.

    Whether a JPEG is whole is for what reads it.

    Raises:
        DriverError: it is not whole, or of another kind.
    """
    data = _bytes(file.data)
    announced = file.announced_bytes
    if announced is not None and announced != len(data):
        raise DriverError(
            f"corrupt picture: the camera's file has {len(data)} bytes; it announced "
            f"{in_words(announced)}"
        )
    if raw is False and filetype.of(data) is None:
        data = jpeg.begun(data)
    kind = filetype.of(data)
    if kind is None or (raw and not kind.is_raw) or (raw is False and kind.name != "JPEG"):
        allowed = f"a RAW file: {filetype.RAW_NAMES}" if raw else "a JPEG"
        raise DriverError(
            f"corrupt picture: the camera sent {filetype.in_words(data)}; allowed: {allowed}"
        )
    raw_file.check_whole(data, kind)
    return replace(file, mime_type=filetype.mime_type(data, file.mime_type), data=data)


def _bytes(data: object) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise DriverError(f"the camera's driver gave {in_words(data)} as a file; allowed: bytes")
    whole = bytes(data)
    if not whole:
        raise DriverError("corrupt picture: the camera's file is empty")
    if len(whole) > SLOT_BYTES:
        raise DriverError(f"the camera's file has {len(whole)} bytes; allowed: {SLOT_BYTES}")
    return whole


# What is beside it.


def _dark(frame: Frame) -> list[str]:
    """Say that a picture may be darker than it is: one of 12 bits that are taken for 16."""
    if frame.pixels is None or frame.bits is not None or frame.pixels.itemsize == 1:
        return []
    bits = pixels.used_bits(frame.pixels)
    if bits > _FEW_BITS:
        return []
    return [
        f"no value of the picture has more than {bits} of 16 bits: if that is all that the camera "
        "gives, its driver has to say so, and it will be brighter"
    ]


def _others(given: object, odd: list[str]) -> list[File]:
    """Return a shot's further files: those that hold anything."""
    kept = list[File]()
    for number, other in enumerate(_each(given), start=2):
        if not isinstance(other, File):
            odd.append(f"file {number} of the shot was left out: it is {in_words(other)}")
            continue
        name = _name(other.name)
        what = f"file {number} of the shot" + (f", {short(name)}," if name else "")
        if len(kept) == MAX_OTHERS:
            odd.append(f"{what} was left out; allowed: {MAX_OTHERS} files beside the picture")
            continue
        try:
            data = _bytes(other.data)
        except DriverError as error:
            odd.append(f"{what} was left out: {error}")
            continue
        kind = filetype.mime_type(data, other.mime_type)
        came = replace(other, name=name, mime_type=kind, data=data, size_px=None)
        try:
            said = other.mime_type if isinstance(other.mime_type, str) else ""
            is_picture = kind.startswith("image/") or said.startswith("image/")
            kept.append(_complete(_known(came, raw=None)) if is_picture else came)
        except DriverError as error:
            odd.append(f"{what} is kept as it came: {error}")
            kept.append(came)
    return kept


def _complete(file: File) -> File:
    """Return a file, of a JPEG with what it left out, and its size.

    Raises:
        DriverError: it is not whole.
    """
    if file.mime_type != filetype.JPEG:
        return file
    data, found = completed.read(file.data)
    return replace(file, data=data, size_px=(found.width_px, found.height_px))


def _settings(controls: object) -> dict[object, object]:
    """Return the values of a driver's controls by name."""
    known = [control for control in _each(controls) if isinstance(control, Control)]
    return {control.name: control.value for control in known if control.value is not None}


def _values(given: object, odd: list[str]) -> dict[str, ControlValue]:
    """Return values by name, those that can be kept."""
    kept: dict[str, ControlValue] = {}
    for name, value in given.items() if isinstance(given, Mapping) else ():
        plain = _plain(value)
        if isinstance(name, str) and plain is not None:
            kept[sendable(name, LINE_CHARACTERS)] = plain
        else:
            odd.append(f"the value of control {in_words(name)} was left out: {in_words(value)}")
    return kept


def _plain(value: object) -> ControlValue | None:
    """Return a value in one of the plain types, which numpy's are not; None: it is none."""
    match value:
        case bool():
            return value
        case str():
            return sendable(value, LINE_CHARACTERS)
        case numbers.Integral():
            return int(value) if -(1 << 63) <= int(value) < 1 << 63 else None
        case numbers.Real():
            return float(value) if math.isfinite(value) else None
    return None


def _exposure_us(given: object, odd: list[str]) -> int | None:
    if given is None:
        return None
    plain = _plain(given)
    is_number = isinstance(plain, int | float) and not isinstance(plain, bool)
    if is_number and 0 <= plain <= MAX_EXPOSURE_US:  # type: ignore[operator]
        return round(plain)  # type: ignore[arg-type]
    odd.append(
        f"the exposure was left out: the driver gave {in_words(given)}; allowed: from 0 to "
        f"{MAX_EXPOSURE_US} us"
    )
    return None


def _name(given: object) -> str:
    return line(given, _NAME_CHARACTERS) if isinstance(given, str) else ""


def _each(given: object) -> Iterable[Any]:
    return given if isinstance(given, Sequence) and not isinstance(given, str) else ()
