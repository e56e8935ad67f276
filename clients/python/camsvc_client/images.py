"""Pictures as they reach a program: a still, a frame of the live view, a download."""

from __future__ import annotations

import io
import mimetypes
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from camapi.v1 import camera_pb2 as pb

from camsvc_client.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded picture: its bytes, and their media type such as "image/jpeg".

    Example:
        thumbnail = await client.download_image(capture_id, thumbnail=True)
        thumbnail.save("thumbnail.jpg")
    """

    data: bytes
    mime_type: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file, which is whole or, when this fails, as it was before.

        Raises:
            ValueError: the picture was not fetched.
            OSError: the file cannot be written.
        """
        target = Path(path)
        write_whole(target, self._bytes())
        return target

    def array(self) -> NDArray[np.uint8]:
        """Decode the picture into rows x columns x (red, green, blue), 0..255.

        Needs numpy and Pillow: `pip install camsvc-client[array]`.

        Raises:
            ImportError: they are not installed.
            ValueError: it was not fetched, or Pillow cannot read its format (some raw files).
        """
        try:
            import numpy  # noqa: PLC0415 - optional
            import PIL.Image  # noqa: PLC0415 - optional
        except ImportError as error:
            raise ImportError(
                "array() needs numpy and Pillow: pip install camsvc-client[array]"
            ) from error
        try:
            with PIL.Image.open(io.BytesIO(self._bytes())) as picture:
                return numpy.asarray(picture.convert("RGB"), dtype=numpy.uint8)
        except OSError as error:
            raise ValueError(f"a picture of type {self.mime_type} cannot be decoded") from error

    def _bytes(self) -> bytes:
        if not self.data:
            raise ValueError("the picture was not fetched; get it with download_image")
        return self.data


@dataclass(frozen=True, slots=True)
class Picture(Image):
    """A still: its description and its bytes.

    `data` is empty when it was taken with `fetch=False`. `replayed`: it is the stored result of an
    earlier call with the same `request_id`; unknown, and False, for a picture of more than 16 MiB.

    Example:
        picture = await client.capture("sim0", timeout=30)
        picture.save(f"{picture.capture.capture_id}.jpg")
    """

    capture: pb.Capture
    replayed: bool


@dataclass(frozen=True, slots=True)
class Frame(Image):
    """A picture of the live view.

    `sequence` counts the camera's frames since the service started. `dropped` are the frames that
    this viewer missed so far because it was too slow.

    Example:
        frame = await client.get_frame("sim0")
        print(frame.array().shape, f"{frame.age_s:.3f} s old")
    """

    sequence: int
    acquired_ns: int
    """When it was taken, in nanoseconds since 1970, by the service's clock."""
    width_px: int
    height_px: int
    dropped: int
    taken_at_s: float = field(default_factory=time.monotonic)
    """When it was taken, by `time.monotonic` of this machine."""

    @property
    def acquired_at(self) -> datetime:
        """When it was taken, by the service's clock, in UTC."""
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.acquired_ns // 1000)

    @property
    def age_s(self) -> float:
        """How old it is now, in seconds: as the service said when it sent it, and the time since.

        No wall clock is asked, and how long it was on its way is not known. A service older than
        this client says nothing; then it is the time since the frame has come.
        """
        return time.monotonic() - self.taken_at_s

    @classmethod
    def of(cls, message: pb.LiveFrame) -> Frame:
        """Make one of the contract's message."""
        return cls(
            data=message.data,
            mime_type=message.mime_type,
            sequence=message.sequence,
            acquired_ns=message.acquisition_time.ToNanoseconds(),
            width_px=message.width_px,
            height_px=message.height_px,
            dropped=message.frames_dropped,
            taken_at_s=time.monotonic() - message.age.ToNanoseconds() / 1e9,
        )


def extension(mime_type: str) -> str:
    """Return how files of a media type end, such as ".jpg"."""
    return _EXTENSIONS.get(mime_type) or mimetypes.guess_extension(mime_type) or ".bin"


_EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/x-adobe-dng": ".dng",
    "image/x-canon-cr2": ".cr2",
    "image/x-canon-cr3": ".cr3",
    "image/x-fuji-raf": ".raf",
    "image/x-nikon-nef": ".nef",
    "image/x-sony-arw": ".arw",
}
"""Those that every program expects so; Python's own table has few raw files."""
