"""All that crosses the pipe between the service and a worker, grouped by direction.

A message on the wire is a 4-byte little-endian length and a pickled `Envelope`. Only the classes
of this file and of `shared_memory` are unpickled, so a worker gone mad (or taken over through a
video stream) can hand the service wrong values, but cannot make it run anything.
"""

import io
import pickle
import socket
import zlib
from dataclasses import dataclass, field

from camsvc.ipc import shared_memory
from camsvc.ipc.shared_memory import ControlValue, ImageInfo

MAX_MESSAGE_BYTES = 1 << 20
HEADER_BYTES = 4

# Values both directions carry.


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
    quality_percent: int | None = None
    max_width_px: int | None = None
    max_height_px: int | None = None
    controls: dict[str, ControlValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What an opened camera is and can do.

    `expected_capture_s` is the driver's own guess of a still's duration, until the service has
    seen some. `formats` are names of the contract's image formats, `sizes` are (width, height) in
    pixels, empty when unknown. `make` is the maker's name where it is known apart from the model.
    `warnings` are what a person should look at soon, one plain sentence each. `exposure_us` is the
    exposure that the camera is set to, in microseconds, where it is long and the driver knows it: a
    call is given so much more time.
    """

    model: str
    formats: list[str]
    serial: str = ""
    has_controls: bool = False
    sizes: list[tuple[int, int]] = field(default_factory=list)
    live_view: bool = True
    """Only where the driver has any."""
    capture_during_live_view: bool = False
    expected_capture_s: float = 1.0
    details: dict[str, str] = field(default_factory=dict)
    make: str = ""
    warnings: list[str] = field(default_factory=list)
    exposure_us: int | None = None


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
    max_width_px: int | None = None
    max_height_px: int | None = None
    quality_percent: int | None = None
    max_fps: float | None = None


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


_ALLOWED = {
    (cls.__module__, cls.__qualname__): cls
    for cls in [*globals().values(), shared_memory.ImageInfo]
    if isinstance(cls, type) and cls.__module__ in (__name__, shared_memory.__name__)
}


PROTOCOL = zlib.crc32(
    repr([(name, getattr(cls, "__slots__", ())) for (_, name), cls in _ALLOWED.items()]).encode()
)
"""What both sides must agree on. They do not when camsvc was upgraded under a running service."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a message") from None


def encode(envelope: Envelope) -> bytes:
    """Return the wire form of one message."""
    body = pickle.dumps(envelope, protocol=5)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(body)} bytes; {MAX_MESSAGE_BYTES} are allowed")
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def body_length(header: bytes) -> int:
    """Return the length of the body that follows a header, checked against the limit."""
    length = int.from_bytes(header, "little")
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes; {MAX_MESSAGE_BYTES} are allowed")
    return length


def decode(body: bytes) -> Envelope:
    """Return the message of one body.

    Raises:
        ValueError: it is not a message.
    """
    try:
        envelope = _Unpickler(io.BytesIO(body)).load()
    except Exception as error:
        raise ValueError(f"not a message: {error}") from error
    if not isinstance(envelope, Envelope):
        raise ValueError(f"not a message: {type(envelope).__name__}")
    return envelope


def receive(sock: socket.socket) -> Envelope | None:
    """Block until the next message (worker side); None at the end of the stream."""
    header = _receive_exactly(sock, HEADER_BYTES)
    if header is None:
        return None
    body = _receive_exactly(sock, body_length(header))
    return None if body is None else decode(body)


def _receive_exactly(sock: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        try:
            part = sock.recv(count - len(parts))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)
