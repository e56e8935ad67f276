"""All that crosses the pipe between the service and a worker, grouped by direction.

The annotations are what a message is checked against on both sides: see `packing`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Generic, TypeVar, get_args

from camsvc.ipc.shared_memory import LIVE_BYTES, LIVE_SLOTS, SLOT_BYTES
from camsvc.model.limits import (
    Count,
    Length,
    Line,
    Microseconds,
    Percent,
    Pixels,
    Range,
    Seconds,
    UnixTimeNs,
)
from camsvc.model.values import (
    MAX_CONTROLS,
    MAX_OTHERS,
    MAX_WARNINGS,
    Control,
    ControlValue,
    Device,
    DeviceInfo,
    Finding,
    LiveVariant,
    Shot,
)

AnswerT = TypeVar("AnswerT")
_AnswerT_co = TypeVar("_AnswerT_co", covariant=True)

_MAX_COMMENT = 1 << 19
"""The labels of a capture fit, as JSON with its escapes."""

MAX_VIOLATIONS = 64
"""In one refusal."""

MAX_THUMBNAIL_BYTES = 4 << 20
"""With a large colour profile: its pixels take some 10 KB."""

_InSlot = Annotated[int, Range(0, SLOT_BYTES)]
_Frames = Annotated[int, Range(0, 1 << 32)]
_LiveSlot = Annotated[int, Range(LIVE_SLOTS[0], LIVE_SLOTS[-1])]

# Values both directions carry.


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A file of a still, as the worker announces it; see `storage.staged_shot` for what is checked.

    Times are nanoseconds since the Unix epoch; `exposure_us` is None when the camera does not
    say. `controls` are the values at the moment of the shot. `name` is the camera's own for the
    file, if it has one.
    """

    size_bytes: Annotated[int, Range(1, SLOT_BYTES)]
    mime_type: str
    width_px: Pixels
    height_px: Pixels
    acquisition_time_ns: UnixTimeNs
    exposure_us: Microseconds | None = None
    controls: Annotated[dict[Line, ControlValue], Length(MAX_CONTROLS)] = field(
        default_factory=dict
    )
    name: Line = ""


@dataclass(frozen=True, slots=True)
class SharedImage:
    """One encoding of a live frame, in a slot of the shared memory, for the variants named."""

    variants: list[int]
    slot: _LiveSlot
    size_bytes: Annotated[int, Range(0, LIVE_BYTES)]
    mime_type: str
    width_px: Pixels
    height_px: Pixels


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
    """A still is in `STILL_SLOT`, its further files, `others`, behind it in the camera's order.

    `driver_s` is the driver's part, `encode_s` that of all else. `warnings` are what a person
    should know of the picture.
    """

    image: ImageInfo
    driver_s: Seconds
    encode_s: Seconds
    others: Annotated[list[ImageInfo], Length(MAX_OTHERS)] = field(default_factory=list)
    warnings: Annotated[list[Line], Length(MAX_WARNINGS)] = field(default_factory=list)


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
class Thumbnailed:
    """A thumbnail of `size_bytes` is in `THUMBNAIL_SLOT`: a JPEG."""

    size_bytes: Annotated[int, Range(1, MAX_THUMBNAIL_BYTES)]


@dataclass(frozen=True, slots=True)
class Done:
    """A command without a result has been carried out."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A command failed; `kind` is the name of a class of `camsvc.model.errors`.

    `violations` is that of an `InvalidRequest`.
    """

    kind: str
    message: str
    violations: Annotated[dict[str, str], Length(MAX_VIOLATIONS)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the still under way is, 0 to 100, as the driver knows it."""

    percent: Percent


@dataclass(frozen=True, slots=True)
class SharedFrame:
    """A live frame in the shared memory, in the encodings of all variants; they took `encode_s`.

    It was taken at `acquisition_time_ns`, in Unix time, and at `monotonic_ns` of the machine's
    monotonic clock. `skipped` frames before it were read and not encoded: the service had not freed
    its slots; `bad` ones could not be used.
    """

    acquisition_time_ns: UnixTimeNs
    monotonic_ns: Count
    images: Annotated[list[SharedImage], Length(len(LIVE_SLOTS))]
    encode_s: Seconds
    skipped: _Frames
    bad: _Frames


@dataclass(frozen=True, slots=True)
class Lost:
    """The camera failed while no command was under way: in live view, or in its health check."""

    failure: Failed


@dataclass(frozen=True, slots=True)
class Changed:
    """The open device has changed: its warnings, its exposure."""

    device: DeviceInfo


# From the service to the worker.


class Command(Generic[_AnswerT_co]):
    """What a worker carries out, and answers as its class says, or by `Failed`."""

    __slots__ = ()

    @classmethod
    def answer_type(cls) -> type[_AnswerT_co]:
        """Return the class of its answer."""
        (base,) = vars(cls)["__orig_bases__"]
        answer: type[_AnswerT_co] = get_args(base)[0]
        return answer


class Notice:
    """What a worker takes note of without an answer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Open(Command[Opened]):
    """Build the driver and open the device; then set `controls`."""

    settings: dict[str, object] = field(repr=False)
    controls: dict[str, ControlValue]
    driver_state: bytes


@dataclass(frozen=True, slots=True)
class Recover(Command[Done]):
    """Have the driver recover the open device by itself."""


@dataclass(frozen=True, slots=True)
class Close(Command[Done]):
    """Close the device and dispose of the driver."""


@dataclass(frozen=True, slots=True)
class Prepare(Command[Done]):
    """Prepare for a still that `Capture` will ask for soon, with the same shot."""

    shot: Shot


@dataclass(frozen=True, slots=True)
class Unprepare(Notice):
    """Undo a `Prepare` that no `Capture` will follow."""


@dataclass(frozen=True, slots=True)
class Capture(Command[Captured]):
    """Take a still. `comment` goes into the picture's EXIF.

    The slot for it is the worker's from now on, and the service's once it is answered.
    """

    shot: Shot
    comment: Annotated[str, Length(_MAX_COMMENT)] = ""


@dataclass(frozen=True, slots=True)
class ListControls(Command[Controls]):
    """List the controls with their present values."""


@dataclass(frozen=True, slots=True)
class SetControls(Command[Controls]):
    """Set controls; the answer has them as they are then."""

    values: dict[str, ControlValue]


@dataclass(frozen=True, slots=True)
class Discover(Command[Discovered]):
    """List what is attached; no device is opened.

    `configured` are the settings of the driver's cameras, by id.
    """

    configured: dict[str, dict[str, object]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Diagnose(Command[Diagnosed]):
    """Look at the device from outside, without opening it."""

    settings: dict[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Thumbnail(Command[Thumbnailed]):
    """Make a thumbnail of the picture in `PICTURE_SLOT`. No camera is needed for it."""

    size_bytes: _InSlot


@dataclass(frozen=True, slots=True)
class Ping(Command[Done]):
    """Answered even during a driver call, unless that holds the GIL."""


@dataclass(frozen=True, slots=True)
class SetLive(Notice):
    """Read live frames between commands, in these variants; none: do not."""

    variants: list[LiveVariant]


@dataclass(frozen=True, slots=True)
class Release(Notice):
    """Give slots of live frames back to the worker."""

    slots: list[_LiveSlot]


LiveEvent = SharedFrame | Lost
Event = LiveEvent | Changed | Progress
Answer = Opened | Captured | Controls | Discovered | Diagnosed | Thumbnailed | Done | Failed
FromWorker = Started | Event | Answer
FromService = (
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
    | Thumbnail
    | Ping
    | SetLive
    | Release
)
