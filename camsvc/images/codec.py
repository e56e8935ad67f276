"""Pictures made whole: checked, scaled and encoded in the worker, on its own core.

OpenCV's codec: its libjpeg-turbo encodes and decodes as fast as simplejpeg's does (4.3 ms against
4.6 ms for a 1080p frame), and its drivers need it anyway.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from camsvc.images import completed, icc, orientation
from camsvc.images.jpeg import Jpeg
from camsvc.images.pixels import eight_bits
from camsvc.model.errors import DriverError, DriverFault, Unsupported
from camsvc.model.values import DEFAULT_LIVE_QUALITY_PERCENT, Frame, LiveVariant, Shot

if TYPE_CHECKING:
    from camsvc.images.pixels import Pixels

DEFAULT_QUALITY_PERCENT = 90
LARGEST_JPEG_PX = 65_500
"""A side of a JPEG that libjpeg reads and writes; the format itself allows 65,535."""
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


def finish(picture: "Picture", shot: Shot) -> tuple[bytes | memoryview, Output]:
    """Return a still as asked for.

    A file that the camera encoded itself passes through unless the request asks for another size,
    format or quality. A RAW file always does, its size unknown.

    Raises:
        DriverError: the camera's file cannot be decoded.
        Unsupported: it cannot be made as asked for.
    """
    if shot.format == "RAW":
        return picture.raw()
    output = picture.output(
        _MIME[shot.format],
        shot.quality_percent,
        DEFAULT_QUALITY_PERCENT,
        (shot.max_width_px, shot.max_height_px),
    )
    return picture.render(output), output


class Picture:
    """A frame's picture, whole: made as often as is wanted, in as many ways.

    Pixels that are encoded again stand upright, and keep their colour profile. A file that passes
    through keeps its EXIF, and with that its orientation, which viewers follow.
    """

    def __init__(self, frame: Frame) -> None:
        """Take a frame of known type; see `worker.gate`.

        Raises:
            DriverError: its JPEG is not whole.
        """
        self.frame = frame
        self._jpeg = None
        """The camera's own file, with what it left out, and what it is."""
        if frame.encoded is not None and frame.mime_type == JPEG:
            self._jpeg = completed.read(frame.encoded)

    def raw(self) -> tuple[bytes, Output]:
        """Return a RAW file as it is."""
        if self.frame.encoded is None:
            raise DriverError("the camera gave no raw file")
        return self.frame.encoded, Output(self.frame.mime_type, 0, 0, None)

    def live_outputs(self, variants: Iterable[LiveVariant]) -> dict[Output, list[LiveVariant]]:
        """Return the different pictures that variants want, each with its variants.

        What is too large for a JPEG is scaled: live view has nothing else.
        """
        wanted: dict[Output, list[LiveVariant]] = {}
        for variant in variants:
            width = min(variant.max_width_px or LARGEST_JPEG_PX, LARGEST_JPEG_PX)
            height = min(variant.max_height_px or LARGEST_JPEG_PX, LARGEST_JPEG_PX)
            default, quality = DEFAULT_LIVE_QUALITY_PERCENT, variant.quality_percent
            output = self.output(JPEG, quality, default, (width, height))
            wanted.setdefault(output, []).append(variant)
        return wanted

    def output(
        self,
        mime_type: str,
        quality_percent: int | None,
        default_quality_percent: int,
        limits: tuple[int | None, int | None],
    ) -> Output:
        """Return what is to be made, within limits of width and height."""
        stored = self._size
        size = fit(*self._swapped(stored), *limits)
        if mime_type != JPEG:
            return Output(mime_type, *size, None)
        is_own = self.frame.pixels is None and quality_percent is None
        # As it is stored, and as it is to be held.
        if is_own and fit(*stored, *limits) == stored and size == self._swapped(stored):
            return Output(mime_type, *stored, None)
        return Output(mime_type, *size, quality_percent or default_quality_percent)

    def render(self, output: Output) -> bytes | memoryview:
        """Make one picture.

        Raises:
            DriverError: the camera's file cannot be decoded.
            Unsupported: it is of a kind that cannot be, or too large to be encoded.
        """
        if output.mime_type == JPEG and output.quality_percent is None:
            return self._file[0]
        size = self._swapped((output.width_px, output.height_px))
        pixels = self._decoded(*size)
        if output.mime_type != PNG:
            pixels = eight_bits(pixels)
        if pixels.shape[1::-1] != size:
            pixels = _cv2().resize(pixels, size, interpolation=_cv2().INTER_AREA)
        encoded = encode(self._turned(pixels), output.mime_type, output.quality_percent)
        if self.frame.pixels is not None or not (profile := icc.profile(*self._file)):
            return encoded
        return (icc.into_png if output.mime_type == PNG else icc.into_jpeg)(encoded, profile)

    @property
    def _file(self) -> tuple[bytes, Jpeg]:
        if self._jpeg is None:
            raise DriverError("the camera's file is not a JPEG")
        return self._jpeg

    @functools.cached_property
    def _orientation(self) -> int:
        if self.frame.pixels is not None:
            return orientation.UPRIGHT
        return orientation.of(*self._file)

    @property
    def _size(self) -> tuple[int, int]:
        """Width and height of the pixels as stored."""
        if self.frame.pixels is not None:
            height, width = self.frame.pixels.shape[:2]
            return width, height
        _, found = self._file
        return found.width_px, found.height_px

    def _swapped(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return a size as stored as that of the upright picture, and the other way round."""
        return size[::-1] if self._orientation > 4 else size

    def _decoded(self, width_px: int, height_px: int) -> "Pixels":
        """Return the pixels as stored; of a JPEG in the least size that serves: it is cheaper."""
        if self.frame.pixels is not None:
            return self.frame.pixels
        data, found = self._file
        cv2 = _cv2()
        import numpy as np  # noqa: PLC0415 - as cv2

        shrinks = min(found.width_px // width_px, found.height_px // height_px)
        factor = next((f"REDUCED_{{}}_{factor}" for factor in (8, 4, 2) if shrinks >= factor), "{}")
        colours = "GRAYSCALE" if found.components == 1 else "COLOR"
        # Turned here, when it is small.
        flags = getattr(cv2, f"IMREAD_{factor.format(colours)}") | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:  # of a size that it refuses
            pixels = None
        if pixels is None:
            raise _undecodable(found)
        return np.asarray(pixels, np.uint8)

    def _turned(self, pixels: "Pixels") -> "Pixels":
        """Return pixels as they are to be held."""
        cv2 = _cv2()
        if self._orientation > 4:
            pixels = cv2.transpose(pixels)
        flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(self._orientation)
        return pixels if flip is None else cv2.flip(pixels, flip)


def _undecodable(found: Jpeg) -> Exception:
    """Return why a whole JPEG cannot be decoded."""
    if max(found.width_px, found.height_px) > LARGEST_JPEG_PX:
        kind = f"{found.width_px} x {found.height_px} pixels"
    elif found.bits != 8:
        kind = f"{found.bits} bits a sample"
    elif found.process not in ("baseline", "extended", "progressive"):
        kind = f"{found.process} coding"
    elif found.components not in (1, 3, 4):
        kind = f"{found.components} components"
    else:
        return DriverError("corrupt picture: the camera's JPEG cannot be decoded")
    return Unsupported(
        f"the camera's JPEG has {kind}: it can only be had as it is, in its own size and quality"
    )


def encode(pixels: "Pixels", mime_type: str, quality_percent: int | None) -> memoryview:
    """Encode (height, width) grey or (height, width, 3) blue-first pixels.

    Raises:
        Unsupported: they are too many for a JPEG.
    """
    height, width = pixels.shape[:2]
    if mime_type == JPEG and max(width, height) > LARGEST_JPEG_PX:
        raise Unsupported(
            f"a picture of {width} x {height} pixels is too large for a JPEG, which has at most "
            f"{LARGEST_JPEG_PX} a side; ask for PNG, or for a smaller size"
        )
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
