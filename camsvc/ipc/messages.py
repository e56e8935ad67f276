"""All that crosses the pipe between the service and a worker, grouped by direction."""

from dataclasses import dataclass, field

from camsvc.model.values import (
    Control,
    ControlValue,
    Device,
    DeviceInfo,
    Finding,
    LiveVariant,
    Shot,
)

# Values both directions carry.


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An encoded picture that waits in a slot.

    Times are nanoseconds since the Unix epoch; `exposure_us` is None when the camera does not
    say. `controls` are the values at the moment of the shot, `sha256` is in hexadecimal. `name` is
    the camera's own for the file, if it has one.
    """

    slot: int
    size_bytes: int
    mime_type: str
    width_px: int
    height_px: int
    acquisition_time_ns: int
    sha256: str
    exposure_us: int | None = None
    controls: dict[str, ControlValue] = field(default_factory=dict)
    name: str = ""


def part_path(path: str, number: int) -> str:
    """Return where the file `number` of a shot is staged, from 0 on, the first being at `path`."""
    return f"{path}.{number}" if number else path


@dataclass(frozen=True, slots=True)
class LiveImage:
    """One encoding of a live frame, waiting in a slot, for the variants named."""

    variants: list[int]
    slot: int
    size_bytes: int
    mime_type: str
    width_px: int
    height_px: int


# From the service to the worker.


@dataclass(frozen=True, slots=True)
class Open:
    """Build the driver and open the device; then set `controls`. Answered by `Opened`."""

    settings: dict[str, object]
    controls: dict[str, ControlValue]
    notes: bytes


@dataclass(frozen=True, slots=True)
class Recover:
    """Try the driver's soft rung. Answered by `Done`."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the device and forget the driver. Answered by `Done`."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make ready for a still that `Capture` will ask for soon. Answered by `Done`."""

    shot: Shot


@dataclass(frozen=True, slots=True)
class Unprepare:
    """Undo a `Prepare` that no `Capture` will follow. Not answered."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Take a still, and write it to the new file `path`, synced. Answered by `Captured`.

    Other files of the shot are written beside it; see `shared_memory.beside`.
    It waits in the slot too, which the service then owns, where it has at most `inline_bytes`.
    `comment` goes into the picture's EXIF.
    """

    shot: Shot
    path: str
    inline_bytes: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ListControls:
    """Answered by `Controls`."""


@dataclass(frozen=True, slots=True)
class SetControls:
    """Answered by `Controls`, as they are then."""

    values: dict[str, ControlValue]


@dataclass(frozen=True, slots=True)
class Discover:
    """List what is attached; no device is opened. Answered by `Discovered`.

    `configured` are the settings of the driver's cameras, by id.
    """

    configured: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnose:
    """Look at the device from outside, without opening it. Answered by `Diagnosed`."""

    settings: dict[str, object]


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by `Done`, beside a driver call that does not hold the GIL."""


@dataclass(frozen=True, slots=True)
class SetLive:
    """Read live frames between commands, in these variants; none: do not. Not answered."""

    variants: list[LiveVariant]


@dataclass(frozen=True, slots=True)
class Release:
    """Give slots back to the worker. Not answered."""

    slots: list[int]


# From the worker to the service.


@dataclass(frozen=True, slots=True)
class Started:
    """The worker's first message: the driver's library is imported, no device touched."""

    protocol: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The device is open."""

    device: DeviceInfo


@dataclass(frozen=True, slots=True)
class Captured:
    """A still is in its file, and in its slot unless that is `NO_SLOT`.

    `driver_s` is the driver's part, `encode_s` the encoder's, `store_s` that of writing the files.
    `others` are the shot's further files, in the camera's order.
    """

    image: ImageInfo
    driver_s: float
    encode_s: float
    store_s: float
    others: list[ImageInfo] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Controls:
    """The camera's controls with their present values."""

    controls: list[Control]


@dataclass(frozen=True, slots=True)
class Discovered:
    """What is attached."""

    devices: list[Device]


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What a diagnosis found."""

    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Done:
    """A command without a result has been carried out."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A command failed; `kind` is the name of a class of `camsvc.model.errors`."""

    kind: str
    message: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the still under way is, 0 to 100, as the driver knows it."""

    percent: int


@dataclass(frozen=True, slots=True)
class LiveFrames:
    """A live frame, in each variant that wants it. `encode_s` is what encoding them took.

    `skipped` frames before it were read and not encoded: the service had not freed its slots.
    """

    acquisition_time_ns: int
    images: list[LiveImage]
    encode_s: float
    skipped: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The camera failed while no command was under way, read live or looked after."""

    failure: Failed


@dataclass(frozen=True, slots=True)
class Changed:
    """The open camera is not quite what it was: its warnings, its exposure."""

    device: DeviceInfo


Command = (
    Open
    | Recover
    | Close
    | Prepare
    | Unprepare
    | Capture
    | ListControls
    | SetControls
    | Discover
    | Diagnose
    | Ping
    | SetLive
    | Release
)
LiveEvent = LiveFrames | Lost
Event = LiveEvent | Changed | Progress
Answer = Opened | Captured | Controls | Discovered | Diagnosed | Done | Failed


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message; an answer carries its command's id, anything else 0."""

    id: int
    message: Command | Answer | Event | Started
