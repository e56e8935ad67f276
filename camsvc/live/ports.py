"""What live view needs of the camera that it shows, and what it is given by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from camsvc.model.errors import CameraLost, CameraServiceError, DriverFault
from camsvc.model.lifecycle import State
from camsvc.model.values import DeviceInfo, LiveVariant


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One encoding of a live frame, for the variants whose ids are named."""

    variants: Sequence[int]
    mime_type: str
    width_px: int
    height_px: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CameraFrame:
    """One frame as the camera delivers it, in each encoding that is wanted.

    It was taken at `acquisition_time_ns`, in Unix time, and at `monotonic_ns` of the machine's
    monotonic clock. Encoding took `encode_s`; `skipped` frames before it were read and not encoded,
    `bad` ones could not be used.
    """

    acquisition_time_ns: int
    monotonic_ns: int
    images: Sequence[EncodedImage]
    encode_s: float
    skipped: int
    bad: int


class LiveSource(Protocol):
    """The camera behind a live view; `camera.supervisor.Supervisor` is one."""

    @property
    def state(self) -> State: ...
    @property
    def device(self) -> DeviceInfo | None: ...
    @property
    def fault(self) -> CameraServiceError | None: ...
    def open(self) -> None: ...
    def raise_if_unavailable(self) -> None: ...
    def set_live_variants(self, variants: Sequence[LiveVariant]) -> None: ...
    def on_live_failed(self, error: CameraLost | DriverFault) -> None: ...
    def confirm_working(self) -> None: ...
