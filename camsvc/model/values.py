"""What the service, its workers and its drivers speak of, as plain values.

Standard library only: a worker may run under another interpreter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from camsvc.model.limits import Microseconds, Percent, Pixels, Seconds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ControlValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Control:
    """One setting of a camera, with what it may be set to.

    `type` is "bool", "int", "float" or "string"; `access` is "read", "write" or "read_write".
    """

    name: str
    type: str
    value: ControlValue | None
    minimum: float | None = None
    maximum: float | None = None
    increment: float | None = None
    unit: str = ""
    allowed: list[str] = field(default_factory=list)
    access: str = "read_write"
    description: str = ""


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

    `announced_bytes` is the size that the camera has said it has; None: it has not.
    """

    name: str
    mime_type: str
    data: bytes
    announced_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as the driver got it: either `pixels` or `encoded`.

    `pixels` is (height, width, 3), uint8, blue first. `encoded` is a whole file of `mime_type`.
    `acquisition_time_ns` (Unix epoch) is when the light was taken, as near as the driver knows;
    a still older than the request for it is refused as stale, and any frame of a time that cannot
    be; see `clock.acquired`. `controls` are those values that the device says the picture was taken
    with; those missing are as they are set. `others` are further files of a still, such as a RAW
    file in addition to the JPEG; `name` is this one's, where the camera gives names, and
    `announced_bytes` its size as a `File` has it. `warnings` are what is odd about a still that can
    be used all the same, one plain sentence each.
    """

    acquisition_time_ns: int
    pixels: "npt.NDArray[np.uint8] | None" = None
    encoded: bytes | None = None
    mime_type: str = ""
    exposure_us: int | None = None
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    name: str = ""
    others: Sequence[File] = ()
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

    model: str
    formats: list[str]
    serial: str = ""
    has_controls: bool = False
    sizes: list[tuple[Pixels, Pixels]] = field(default_factory=list)
    live_view: bool = True
    """Only where the driver has any."""
    capture_during_live_view: bool = False
    expected_capture_s: Seconds = 1.0
    details: dict[str, str] = field(default_factory=dict)
    make: str = ""
    warnings: list[str] = field(default_factory=list)
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
