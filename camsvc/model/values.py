"""What the service, its workers and its drivers speak of, as plain values.

Standard library only: a worker may run under another interpreter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from camsvc.model.limits import (
    Length,
    Line,
    Microseconds,
    OneOf,
    Percent,
    Pixels,
    Seconds,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ControlValue = bool | int | float | str
Format = Annotated[str, OneOf(("JPEG", "PNG", "RAW"))]

MAX_FORMATS, MAX_SIZES, MAX_DETAILS, MAX_WARNINGS = 3, 256, 64, 32
"""Of a device. What one camera says of itself has to fit into a list of all of them."""

MAX_CONTROLS, MAX_OTHERS = 256, 31
"""Of a still, which has to fit into a page of them: the controls kept with it, its further files.
It has `MAX_WARNINGS`, too."""


@dataclass(frozen=True, slots=True)
class Control:
    """One setting of a camera, with what it may be set to.

    `type` is "bool", "int", "float" or "string"; `access` is "read", "write" or "read_write".
    """

    name: Line
    type: Annotated[str, OneOf(("bool", "int", "float", "string"))]
    value: ControlValue | None
    minimum: float | None = None
    maximum: float | None = None
    increment: float | None = None
    unit: Line = ""
    allowed: list[Line] = field(default_factory=list)
    access: Annotated[str, OneOf(("read", "write", "read_write"))] = "read_write"
    description: Line = ""


@dataclass(frozen=True, slots=True)
class Shot:
    """How a still is wanted. `controls` hold for this shot only; sizes keep the aspect."""

    format: str = "JPEG"
    quality_percent: Percent | None = None
    max_width_px: Pixels | None = None
    max_height_px: Pixels | None = None
    controls: dict[str, ControlValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A whole file as the camera made it, with the name that the camera gave it.

    `announced_bytes` is the size that the camera said it has, where it says so: a file of another
    size is not whole. `size_px` is a JPEG's width and height, which the worker finds out.
    """

    name: str
    mime_type: str
    data: bytes
    announced_bytes: int | None = None
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as the driver got it: either `pixels` or `encoded`. `worker.gate` checks it.

    `pixels` are uint8 or uint16: (height, width) or (height, width, 1), grey; (height, width, 3),
    blue first; (height, width, 4), the same and an alpha, which is dropped. `bits` is how many of
    uint16 a value has, from 8 to 16, by default 16: of 12, the largest is 4095.

    `encoded` is a whole file, a JPEG or, where a RAW file is asked for, one; `announced_bytes`
    is as that of a `File`.

    `acquisition_time_ns` (Unix epoch) is when the light was taken, as near as the driver knows;
    a still older than the request for it is refused as stale, and any frame of a time that cannot
    be; see `clock.acquired`. `controls` are those values that the device says the picture was taken
    with; those missing are as they are set. `others` are further files of a still, such as a RAW
    file in addition to the JPEG; `name` is this one's, where the camera gives names. `warnings`
    are what a person should know of this picture, one plain sentence each.
    """

    acquisition_time_ns: int
    pixels: "npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | None" = None
    encoded: bytes | None = None
    mime_type: str = ""
    exposure_us: int | None = None
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    name: str = ""
    others: Sequence[File] = ()
    bits: int | None = None
    announced_bytes: int | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What an opened camera is and can do.

    `expected_capture_s` is the driver's own guess of a still's duration, until the service has
    seen some. `formats` are names of the contract's image formats, `sizes` are (width, height) in
    pixels, empty when unknown. `make` is the maker's name where it is known apart from the model.
    `warnings` are what a person should look at soon, one plain sentence each. `exposure_us` is the
    exposure that the camera is set to, in microseconds, where it is long and the driver knows it: a
    call is given so much more time. So it is for `max_silence_s`, for which the camera may send no
    frame though nothing is wrong: live view counts as stalled only so much later.
    """

    model: Line
    formats: Annotated[list[Format], Length(MAX_FORMATS)]
    serial: Line = ""
    has_controls: bool = False
    sizes: Annotated[list[tuple[Pixels, Pixels]], Length(MAX_SIZES)] = field(default_factory=list)
    live_view: bool = True
    """Only where the driver has any."""
    capture_during_live_view: bool = False
    expected_capture_s: Seconds = 1.0
    details: Annotated[dict[Line, Line], Length(MAX_DETAILS)] = field(default_factory=dict)
    make: Line = ""
    warnings: Annotated[list[Line], Length(MAX_WARNINGS)] = field(default_factory=list)
    exposure_us: Microseconds | None = None
    max_silence_s: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a driver found attached.

    `settings` are what selects it in the settings file, `address` the same for a person; `camera`
    is the id it is configured as, if it is.
    """

    address: str
    name: str
    model: str = ""
    serial: str = ""
    settings: dict[str, str | int] = field(default_factory=dict)
    camera: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a driver's diagnosis looked at. `advice` says what to do when not `ok`."""

    ok: bool
    text: str
    advice: str = ""


DEFAULT_LIVE_QUALITY_PERCENT = 80
"""Of live frames that have to be encoded, where no quality is asked for."""


@dataclass(frozen=True, slots=True)
class LiveVariant:
    """One way in which live frames are wanted.

    `quality_percent` None: a JPEG of the camera's own stays as it is where its size is right.
    `max_fps` None: every frame.
    """

    id: int
    max_width_px: Pixels | None = None
    max_height_px: Pixels | None = None
    quality_percent: Percent | None = None
    max_fps: float | None = None
