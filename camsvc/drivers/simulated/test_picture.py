"""The simulated camera's picture: it moves, and says which frame it is, to people and programs.

Along the lower edge runs a strip of 40 cells, black for 0 and white for 1, most significant bit
first: 32 bits of the frame's number, then 8 bits of checksum. It survives JPEG and scaling down
to about 160 pixels width.
"""

import itertools
import time
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMBER_BITS = 32
_CELLS = _NUMBER_BITS + 8


class TestPicture:
    """Paints frames of one size."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, width_px: int, height_px: int) -> None:
        self._width, self._height = width_px, height_px
        x = np.linspace(0, 4 * np.pi, 2 * width_px, dtype=np.float32)
        y = np.linspace(0, 255, height_px, dtype=np.float32)[:, None]
        wave = 127.5 + 127.5 * np.sin(x)[None, :]
        layers = np.broadcast_arrays(wave, y, 255 - wave * 0.5 - y * 0.5)
        # Twice as wide as a frame: moving is a slice of it, not a computation.
        self._background = np.dstack(layers).astype(np.uint8)

    def paint(self, number: int, time_ns: int, caption: str) -> "npt.NDArray[np.uint8]":
        """Return frame `number` as (height, width, 3) blue-first pixels."""
        offset = (number * 7) % self._width
        pixels = self._background[:, offset : offset + self._width].copy()
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time_ns // 10**9))
        lines = [f"frame {number}", f"{moment}.{time_ns // 10**6 % 1000:03d} UTC", caption]
        scale = self._width / 640
        for index, line in enumerate(lines, start=1):
            at = (round(16 * scale), round(32 * scale * index))
            for colour, weight in (((0, 0, 0), 4), ((255, 255, 255), 1)):
                thickness = max(1, round(weight * scale))
                cv2.putText(
                    pixels, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, colour, thickness
                )
        top, edges = _strip(self._width, self._height)
        for bit, left, right in zip(_bits(number), edges, edges[1:], strict=False):
            pixels[top:, left:right] = 255 if bit else 0
        return pixels


def read_number(pixels: "npt.NDArray[np.uint8]") -> int | None:
    """Return the frame number painted into a test picture, or None when it is not readable.

    `pixels` is (height, width) or (height, width, 3), of any size the picture was scaled to.
    """
    height, width = pixels.shape[:2]
    top, edges = _strip(width, height)
    middle = (top + height) // 2
    row = pixels[middle].reshape(width, -1).mean(axis=1)
    bits = [int(row[(left + right) // 2] > 127) for left, right in itertools.pairwise(edges)]
    number = int("".join(map(str, bits[:_NUMBER_BITS])), 2)
    return number if _bits(number) == bits else None


def _strip(width: int, height: int) -> tuple[int, list[int]]:
    """Return the strip's upper edge and the borders of its cells."""
    return height - max(8, height // 16), [width * i // _CELLS for i in range(_CELLS + 1)]


def _bits(number: int) -> list[int]:
    checksum = zlib.crc32(number.to_bytes(4, "big")) & 0xFF
    return [int(bit) for bit in f"{number % 2**32:032b}{checksum:08b}"]
