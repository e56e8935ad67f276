"""Ranges of numbers and lengths, as a part of their types: `percent: Percent` holds 0 to 100.

What comes from a worker is checked against them where it is decoded; see `ipc.packing`.
"""

from typing import Annotated, NamedTuple


class Range(NamedTuple):
    """Both limits are allowed."""

    minimum: int
    maximum: int


class Length(NamedTuple):
    """How many characters a text may have, or how many entries a list or a dict."""

    maximum: int


class OneOf(NamedTuple):
    """The texts that are allowed."""

    allowed: tuple[str, ...]


Percent = Annotated[int, Range(0, 100)]
Pixels = Annotated[int, Range(0, 1 << 24)]
"""A picture's width or height; 0 where it is unknown."""
Count = Annotated[int, Range(0, (1 << 63) - 1)]
UnixTimeNs = Annotated[int, Range(0, (1 << 63) - 1)]
MAX_EXPOSURE_US = 1 << 42
Microseconds = Annotated[int, Range(0, MAX_EXPOSURE_US)]
"""An exposure: up to 50 days."""
Seconds = Annotated[float, Range(0, 1 << 22)]
"""A duration: up to 50 days, finite."""

LINE_CHARACTERS = 1000
Line = Annotated[str, Length(LINE_CHARACTERS)]
"""A name, a sentence."""
