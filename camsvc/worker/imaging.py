"""Pictures made whole: checked, scaled and encoded in the worker, on its own core."""

import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np

from camsvc.drivers.base import Frame
from camsvc.errors import DriverError, Unsupported
from camsvc.worker.messages import Shot

if TYPE_CHECKING:
    import numpy.typing as npt

DEFAULT_QUALITY_PERCENT = 90
_MIME = {"JPEG": "image/jpeg", "PNG": "image/png"}


def finish(frame: Frame, shot: Shot) -> tuple[bytes | memoryview, str, int, int]:
    """Return a still as asked for: data, MIME type, width and height in pixels.

    A file that the camera encoded itself passes through untouched unless the request asks for
    another size, format or quality.

    Raises:
        DriverError: the camera's file is not whole.
        Unsupported: the format cannot be made from what the camera gives.
    """
    if shot.format not in _MIME and frame.encoded is None:
        raise Unsupported(f"format {shot.format} is not to be had; this camera gives JPEG and PNG")
    mime_type = _MIME.get(shot.format, frame.mime_type)
    if frame.encoded is not None:
        width, height = jpeg_size(frame.encoded)
        wanted = fit(width, height, shot.max_width_px, shot.max_height_px)
        if (
            frame.mime_type == mime_type
            and wanted == (width, height)
            and shot.quality_percent is None
        ):
            return frame.encoded, mime_type, width, height
    pixels = scale(decoded(frame), shot.max_width_px, shot.max_height_px)
    height, width = pixels.shape[:2]
    return encode(pixels, shot), mime_type, width, height


def encode(pixels: "npt.NDArray[np.uint8]", shot: Shot) -> memoryview:
    """Encode (height, width, 3) blue-first pixels as the shot's format."""
    if shot.format == "PNG":
        # Level 1: photographs gain little from more, which costs seconds at 12 megapixels.
        ok, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    else:
        quality = shot.quality_percent or DEFAULT_QUALITY_PERCENT
        ok, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise DriverError(f"encoding {shot.format} failed for pixels of shape {pixels.shape}")
    return data.data.cast("B")


def decoded(frame: Frame) -> "npt.NDArray[np.uint8]":
    """Return a frame's pixels, decoding the camera's file when there are none."""
    if frame.pixels is not None:
        return frame.pixels
    assert frame.encoded is not None
    pixels = cv2.imdecode(np.frombuffer(frame.encoded, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DriverError(f"the camera's {frame.mime_type} could not be decoded")
    return np.asarray(pixels, np.uint8)


def scale(
    pixels: "npt.NDArray[np.uint8]", max_width_px: int | None, max_height_px: int | None
) -> "npt.NDArray[np.uint8]":
    """Shrink pixels to fit; never enlarge."""
    height, width = pixels.shape[:2]
    size = fit(width, height, max_width_px, max_height_px)
    if size == (width, height):
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def fit(width: int, height: int, max_width: int | None, max_height: int | None) -> tuple[int, int]:
    """Return the size that keeps the aspect within the limits, at least 1 x 1."""
    factor = min(1.0, (max_width or width) / width, (max_height or height) / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a whole JPEG.

    A truncated one has no end marker: OpenCV and libjpeg decode it all the same, grey below the
    cut, and report success. Zero bytes after the end are padding that some cameras add. Damage in
    the middle is not seen here.

    Raises:
        DriverError: it is not a JPEG, or not a whole one.
    """
    if not data.startswith(b"\xff\xd8"):
        raise DriverError("corrupt picture: the camera's data is not a JPEG")
    if not data.rstrip(b"\x00").endswith(b"\xff\xd9"):
        raise DriverError(f"corrupt picture: the JPEG of {len(data)} bytes has no end marker")
    at = 2
    while at + 9 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        # SOF0 to SOF15 hold the size; C4, C8 and CC are other things among their numbers.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length
    raise DriverError("corrupt picture: the JPEG has no frame header")
