"""Pixels as drivers hand them over, made those that are encoded: contiguous, grey or blue first.

Of 8 bits, or of 16 that are all used: a PNG of them is as bright as its 8-bit JPEG.
"""

from typing import TYPE_CHECKING

from camsvc.model.errors import DriverError, in_words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

MAX_SIDE_PX = 1_000_000
"""The limit of libpng."""
MAX_BYTES = 1 << 29
"""Half of a slot of the shared memory: noise takes a little more as a PNG than as pixels."""

_ALLOWED = (
    "uint8 or uint16, of the shape (height, width) or (height, width, channels) with 1, 3 or 4 "
    "channels"
)


def checked(given: object, bits: object) -> "Pixels":
    """Return a frame's pixels as (height, width), grey, or (height, width, 3), blue first.

    An alpha is dropped: what a camera has there says nothing, and a PNG would be half transparent.

    Raises:
        DriverError: they are not pixels as a `Frame` has them; the text says which are allowed.
    """
    import numpy as np  # noqa: PLC0415 - a camera that encodes its own pictures does without

    if not isinstance(given, np.ndarray):
        raise DriverError(
            f"the camera's driver gave {in_words(given)} as a frame's pixels; allowed: an array "
            f"of {_ALLOWED}"
        )
    shape = given.shape
    if (
        given.dtype.kind != "u"
        or given.dtype.itemsize > 2
        or len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[2] not in (1, 3, 4))
    ):
        kind = given.dtype.name if given.dtype.isbuiltin == 1 else "another type"
        raise DriverError(
            f"the camera's driver gave a frame of {kind} with the shape {shape}; allowed: "
            f"{_ALLOWED}"
        )
    if given.size == 0:
        raise DriverError(f"the camera's driver gave an empty frame, of the shape {shape}")
    if max(shape) > MAX_SIDE_PX or given.nbytes > MAX_BYTES:
        raise DriverError(
            f"the camera's driver gave a frame of {given.nbytes} bytes with the shape {shape}; "
            f"allowed: {MAX_BYTES} bytes, {MAX_SIDE_PX} pixels a side"
        )
    plain = np.asarray(given)
    if len(shape) == 3:
        plain = plain[:, :, 0] if shape[2] == 1 else plain[:, :, :3]
    return _full_range(np.ascontiguousarray(plain, plain.dtype.newbyteorder("=")), bits)


def used_bits(pixels: "Pixels") -> int:
    """Return how many bits the largest value has."""
    return int(pixels.max()).bit_length()


def eight_bits(pixels: "Pixels") -> "npt.NDArray[np.uint8]":
    """Return pixels of 16 bits as such of 8."""
    import numpy as np  # noqa: PLC0415 - as above

    return np.asarray(pixels >> 8 if pixels.dtype == np.uint16 else pixels, np.uint8)


def _full_range(pixels: "Pixels", bits: object) -> "Pixels":
    """Spread values over all bits of their type: the highest of few bits is white, too.

    The bits that are left are those of the value from its highest on, so that nothing is lost.
    """
    most = 8 * pixels.itemsize
    used = most if bits is None else bits
    if isinstance(used, bool) or not isinstance(used, int) or not 8 <= used <= most:
        raise DriverError(
            f"the camera's driver says that its frame has {in_words(bits)} bits; allowed for "
            f"{pixels.dtype}: from 8 to {most}"
        )
    if used == most:
        return pixels
    if used_bits(pixels) > used:
        raise DriverError(
            f"the camera's driver says that its frame has {used} bits, and a value is "
            f"{pixels.max()}; allowed: up to {(1 << used) - 1}"
        )
    spread: Pixels = (pixels << (most - used)) | (pixels >> (2 * used - most))  # type: ignore[assignment]
    return spread
