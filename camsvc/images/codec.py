"""Pictures made whole: checked, scaled and encoded in the worker, on its own core.

OpenCV's codec: its libjpeg-turbo encodes and decodes as fast as simplejpeg's does (4.3 ms against
4.6 ms for a 1080p frame), and its drivers need it anyway.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from camsvc.images import jpeg
from camsvc.model.errors import DriverError, DriverFault
from camsvc.model.values import Frame, LiveVariant, Shot

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DEFAULT_QUALITY_PERCENT = 90
DEFAULT_LIVE_QUALITY_PERCENT = 80
JPEG, PNG = "image/jpeg", "image/png"
_MIME = {"JPEG": JPEG, "PNG": PNG}


@functools.cache
def _cv2() -> ModuleType:
    """Return OpenCV. A camera that encodes its own pictures can do without it."""
    try:
        import cv2  # noqa: PLC0415
    except ImportError as error:
        raise DriverFault(
            "the camera's `python` has no cv2, which scales and encodes its pictures; install "
            "opencv-python-headless there (on Raspberry Pi OS: python3-opencv), then reset the "
            "camera"
        ) from error
    # A worker is one camera's, and its machine has others: a pool of threads for each costs more
    # than it brings.
    cv2.setNumThreads(1)
    return cv2


@dataclass(frozen=True, slots=True)
class Output:
    """One picture to be made of a frame. `quality_percent` None: as the camera made it."""

    mime_type: str
    width_px: int
    height_px: int
    quality_percent: int | None


def finish(frame: Frame, shot: Shot) -> tuple[bytes | memoryview, Output]:
    """Return a still as asked for.

    A file that the camera encoded itself passes through untouched unless the request asks for
    another size, format or quality. A RAW file always does, its size unknown.

    Raises:
        DriverError: the camera's file is not whole, or none of the RAW kind.
    """
    if shot.format == "RAW":
        if frame.encoded is None:
            raise DriverError("the camera gave no raw file")
        return frame.encoded, Output(frame.mime_type, 0, 0, None)
    mime_type = _MIME.get(shot.format, frame.mime_type)
    output = _output(frame, shot, mime_type, DEFAULT_QUALITY_PERCENT)
    return render(frame, output), output


def outputs(frame: Frame, variants: Iterable[LiveVariant]) -> dict[Output, list[LiveVariant]]:
    """Return the different pictures that variants want of a live frame, each with its variants.

    Raises:
        DriverError: the camera's file is not whole.
    """
    wanted: dict[Output, list[LiveVariant]] = {}
    for variant in variants:
        output = _output(frame, variant, JPEG, DEFAULT_LIVE_QUALITY_PERCENT)
        wanted.setdefault(output, []).append(variant)
    return wanted


def render(frame: Frame, output: Output) -> bytes | memoryview:
    """Make one picture of a frame."""
    own = output.quality_percent is None and output.mime_type == frame.mime_type
    if own and frame.encoded is not None:
        return frame.encoded
    pixels = _decoded(frame, output)
    size = (output.width_px, output.height_px)
    if pixels.shape[1::-1] != size:
        pixels = _cv2().resize(pixels, size, interpolation=_cv2().INTER_AREA)
    return encode(pixels, output.mime_type, output.quality_percent)


def encode(
    pixels: "npt.NDArray[np.uint8]", mime_type: str, quality_percent: int | None
) -> memoryview:
    """Encode (height, width, 3) blue-first pixels."""
    cv2 = _cv2()
    if mime_type == PNG:
        # Level 1: photographs gain little from more, which costs seconds at 12 megapixels.
        ok, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    else:
        quality = quality_percent or DEFAULT_QUALITY_PERCENT
        ok, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise DriverError(f"encoding as {mime_type} failed for pixels of shape {pixels.shape}")
    return memoryview(data).cast("B")


def fit(width: int, height: int, max_width: int | None, max_height: int | None) -> tuple[int, int]:
    """Return the size that keeps the aspect within the limits, at least 1 x 1."""
    factor = min(1.0, (max_width or width) / width, (max_height or height) / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _output(
    frame: Frame, wanted: Shot | LiveVariant, mime_type: str, default_quality: int
) -> Output:
    full = _size(frame)
    width, height = fit(*full, wanted.max_width_px, wanted.max_height_px)
    own = frame.encoded is not None and frame.mime_type == mime_type and (width, height) == full
    if mime_type != JPEG or (own and wanted.quality_percent is None):
        return Output(mime_type, width, height, None)
    return Output(mime_type, width, height, wanted.quality_percent or default_quality)


def _size(frame: Frame) -> tuple[int, int]:
    if frame.pixels is not None:
        height, width = frame.pixels.shape[:2]
        return width, height
    return jpeg.whole_size(_file(frame))


def _file(frame: Frame) -> bytes:
    if frame.encoded is None:
        raise DriverError("the driver returned a frame that has neither pixels nor a file")
    return frame.encoded


def _decoded(frame: Frame, output: Output) -> "npt.NDArray[np.uint8]":
    """Return a frame's pixels; of a JPEG those of the least size that serves, which is cheaper."""
    if frame.pixels is not None:
        return frame.pixels
    width, height = _size(frame)
    shrinks = min(width // output.width_px, height // output.height_px)
    cv2 = _cv2()
    import numpy as np  # noqa: PLC0415 - as cv2

    factor = next((factor for factor in (8, 4, 2) if shrinks >= factor), 0)
    flag = getattr(cv2, f"IMREAD_REDUCED_COLOR_{factor}") if factor else cv2.IMREAD_COLOR
    # As stored, as its size is: turned upright, it would be squeezed into that.
    flag |= cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(_file(frame), np.uint8), flag)
    if pixels is None:
        raise DriverError(f"the camera's {frame.mime_type} could not be decoded")
    return np.asarray(pixels, np.uint8)
