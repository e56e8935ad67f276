"""What is kept of captures and their events, as plain values.

Times are nanoseconds since the Unix epoch, spans are seconds. A record is stored as JSON, so that
a later version may add a field with a default without a migration.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

from camsvc.model import errors
from camsvc.model.values import ControlValue


class CaptureState(Enum):
    """Where a capture is in its life; the names are the contract's."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class EventType(Enum):
    """What happened; the names are the contract's."""

    QUEUED = "QUEUED"
    STARTED = "STARTED"
    PROGRESS = "PROGRESS"
    RETRYING = "RETRYING"
    RECOVERING = "RECOVERING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    CAMERA_UNAVAILABLE = "CAMERA_UNAVAILABLE"
    CAMERA_AVAILABLE = "CAMERA_AVAILABLE"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A file on disk. `path` is relative to the data folder, with forward slashes.

    `name` is what the camera called it, if it did. Width and height are 0 where unknown.
    """

    path: str
    mime_type: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class TakenShot:
    """A shot's files as they are on the disk, its picture first, and not yet in their places.

    `data` are the picture's bytes, where they are wanted; `store_s` is what writing took.
    """

    files: Sequence[StoredImage]
    data: bytes | None
    store_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is kept: everything that a client was sent."""

    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    about: str = ""
    """The first wrong field, which `message` is about, of an INVALID_REQUEST."""
    others: Mapping[str, str] = field(default_factory=dict)
    """The other wrong fields, and what is wrong with each."""

    @classmethod
    def of(cls, error: errors.CameraServiceError) -> Self:
        """Return what is kept of an error."""
        message, about, others = error.message, "", dict[str, str]()
        if isinstance(error, errors.InvalidRequest):
            (about, message), *rest = error.violations.items()
            others = dict(rest)
        return cls(error.reason, message, dict(error.metadata), error.retry_after_s, about, others)

    def error(self) -> errors.CameraServiceError:
        """Return the error as it was."""
        if self.reason == errors.InvalidRequest.reason:
            return errors.InvalidRequest(
                self.about, self.message, others=self.others, metadata=self.metadata
            )
        kinds = {kind.reason: kind for kind in errors.CameraServiceError.__subclasses__()}
        kind = kinds.get(self.reason, errors.CameraUnavailable)
        return kind(self.message, retry_after_s=self.retry_after_s, metadata=self.metadata)


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One capture. What is known only at its end has a default until then."""

    capture_id: str
    camera: str
    create_time_ns: int
    request_id: str = ""
    fingerprint: str = ""
    """Of the request; see `fingerprint`. Empty without a request id."""
    state: CaptureState = CaptureState.RUNNING
    labels: Mapping[str, str] = field(default_factory=dict)
    image: StoredImage | None = None
    others: Sequence[StoredImage] = ()
    """The shot's further files, such as a RAW file in addition to the JPEG."""
    acquisition_time_ns: int = 0
    exposure_us: int | None = None
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    attempts: int = 0
    recoveries: int = 0
    queue_s: float = 0.0
    driver_s: float = 0.0
    store_s: float = 0.0
    total_s: float = 0.0
    failure: Failure | None = None
    warnings: Sequence[str] = ()
    """What a person should know of the picture."""

    @property
    def files(self) -> tuple[StoredImage, ...]:
        """All files of the shot, `image` first; none without a picture."""
        return (self.image, *self.others) if self.image else ()

    @property
    def size_bytes(self) -> int:
        """What the files take together."""
        return sum(file.size_bytes for file in self.files)

    def to_json(self) -> str:
        """Return the stored form."""
        return json.dumps(_plain(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record of a stored form; fields it does not have keep their defaults."""
        return cls.from_plain(json.loads(text))

    @classmethod
    def from_plain(cls, raw: dict[str, Any]) -> Self:
        """Return the record of a stored form that was parsed, which is used up."""
        raw["state"] = CaptureState(raw["state"])
        raw["image"] = StoredImage(**raw["image"]) if raw.get("image") else None
        raw["others"] = tuple(StoredImage(**other) for other in raw.get("others", ()))
        raw["failure"] = Failure(**raw["failure"]) if raw.get("failure") else None
        raw["warnings"] = tuple(raw.get("warnings", ()))
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event. The journal gives it its `sequence`; 0 until then."""

    type: EventType
    time_ns: int
    camera: str
    capture_id: str = ""
    request_id: str = ""
    attempt: int = 0
    progress_percent: int | None = None
    queue_position: int | None = None
    capture: CaptureRecord | None = None
    failure: Failure | None = None
    refused_count: int | None = None
    """Of REJECTED: the refusals that it stands for."""
    sequence: int = 0

    def to_json(self) -> str:
        """Return the stored form, without what the journal keeps in columns of its own."""
        plain = _plain(self)
        plain.pop("sequence", None)
        del plain["camera"]
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def from_json(cls, sequence: int, camera: str, text: str) -> Self:
        """Return the event of a stored form."""
        raw: dict[str, Any] = json.loads(text)
        raw["type"] = EventType(raw["type"])
        capture = raw.get("capture")
        raw["capture"] = CaptureRecord.from_plain(capture) if capture else None
        raw["failure"] = Failure(**raw["failure"]) if raw.get("failure") else None
        return cls(**raw, sequence=sequence, camera=camera)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which captures are asked for; what is unset does not count."""

    camera: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    start_ns: int | None = None
    """Created at this time or later."""
    end_ns: int | None = None
    """Created before this time."""
    states: Sequence[CaptureState] = ()


def _plain(record: Any) -> dict[str, Any]:
    """Return a record's fields that differ from their defaults, as JSON's values."""
    plain: dict[str, Any] = {}
    for about in dataclasses.fields(record):
        value = getattr(record, about.name)
        if value is None or (value == about.default and about.name != "state"):
            continue
        if isinstance(value, Enum):
            value = value.value
        elif dataclasses.is_dataclass(value):
            value = _plain(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, tuple):
            value = [_plain(m) if dataclasses.is_dataclass(m) else m for m in value]
        plain[about.name] = value
    return plain
