"""Pixels of every kind that a driver may give, right or refused by their kind and shape."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from camsvc.images import codec, pixels
from camsvc.model.errors import DriverError
from camsvc.model.values import Frame, LiveVariant, Shot

SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
)
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda a: a,
    "upside down": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "mirrored": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "by column": np.asfortranarray,
    "every second": lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
    "the other byte order": lambda a: a.astype(a.dtype.newbyteorder(">")),
}


@given(
    given=arrays.arrays(st.sampled_from([np.uint8, np.uint16]), SHAPES),
    layout=st.sampled_from(list(LAYOUTS)),
    read_only=st.booleans(),
)
def test_however_they_lie_in_memory_they_are_the_same(
    given: Any, layout: str, read_only: bool
) -> None:
    laid = LAYOUTS[layout](given)
    laid.flags.writeable = not read_only
    made = pixels.checked(laid, None)
    assert made.flags.c_contiguous
    assert made.dtype == given.dtype
    expected = (
        given[:, :, 0] if given.shape[2:] == (1,) else given[:, :, :3] if given.ndim == 3 else given
    )
    assert np.array_equal(made, expected)


@given(bits=st.integers(8, 16), value=st.integers(0, 65_535))
def test_few_bits_are_spread_over_all_and_lost_by_none(bits: int, value: int) -> None:
    most = (1 << bits) - 1
    given = np.array([[0, value & most, most]], np.uint16)
    made = pixels.checked(given, bits)
    assert (int(made[0, 0]), int(made[0, 2])) == (0, 65_535)
    assert np.array_equal(made >> (16 - bits), given)
    assert int(pixels.eight_bits(made)[0, 2]) == 255


@pytest.mark.parametrize(
    ("given", "bits", "text"),
    [
        (np.zeros((480, 640), np.float32), None, r"float32 with the shape \(480, 640\); allowed"),
        (np.zeros((4, 4, 3), np.float64), None, "float64"),
        (np.zeros((4, 4, 3), bool), None, "a frame of bool"),
        (np.zeros((4, 4, 3), np.int8), None, "int8"),
        (np.zeros((4, 4, 3), np.int32), None, "int32"),
        (np.zeros((4, 4, 3), np.uint32), None, "uint32"),
        (np.zeros((4, 4, 3), np.complex64), None, "complex64"),
        (np.full((4, 4, 3), None), None, "a frame of object"),
        (np.zeros((4, 4), "U3"), None, "a frame of "),
        (np.zeros((4, 4), [("r", np.uint8), ("g", np.uint8)]), None, "a frame of another type"),
        (np.zeros((4, 4, 2), np.uint8), None, r"uint8 with the shape \(4, 4, 2\)"),
        (np.zeros((4, 4, 5), np.uint8), None, r"\(4, 4, 5\)"),
        (np.zeros(16, np.uint8), None, r"\(16,\)"),
        (np.zeros((), np.uint8), None, r"\(\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), None, r"\(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), None, r"an empty frame, of the shape \(0, 4, 3\)"),
        (np.zeros((4, 0), np.uint16), None, "an empty frame"),
        (np.broadcast_to(np.uint8(0), (1_000_001, 1)), None, "allowed: .* 1000000 pixels a side"),
        (np.broadcast_to(np.uint8(0), (100_000, 100_000)), None, "10000000000 bytes"),
        ([[1, 2], [3, 4]], None, "gave a list as a frame's pixels; allowed: an array of uint8"),
        (b"\0" * 12, None, "gave bytes as a frame's pixels"),
        (np.zeros((4, 4), np.uint16), 7, "has 7 bits; allowed for uint16: from 8 to 16"),
        (np.zeros((4, 4), np.uint16), 17, "has 17 bits"),
        (np.zeros((4, 4), np.uint8), 12, "has 12 bits; allowed for uint8: from 8 to 8"),
        (np.zeros((4, 4), np.uint16), "12", "has the text '12' bits"),
        (np.zeros((4, 4), np.uint16), True, "has true bits"),
        (
            np.full((4, 4), 5000, np.uint16),
            12,
            "has 12 bits, and a value is 5000; allowed: .* 4095",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_are_none_are_refused_by_kind_and_shape(given: Any, bits: Any, text: str) -> None:
    with pytest.raises(DriverError, match=text):
        pixels.checked(given, bits)


def frame(given: Any, bits: int | None = None) -> Frame:
    return Frame(1, pixels=pixels.checked(given, bits))


def decoded(data: bytes | memoryview) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_a_picture_of_16_bits_keeps_them_as_png_and_is_as_bright_as_jpeg(
    channels: tuple[int, ...],
) -> None:
    """Also scaled; white is white, and nothing is transparent."""
    ramp = np.linspace(0, 4095, 64, dtype=np.uint16)
    given = np.broadcast_to(
        ramp[None, :].reshape(1, 64, *([1] * len(channels))), (48, 64, *channels)
    )
    data, _ = codec.finish(codec.Picture(frame(given, 12)), Shot(format="PNG"))
    png = decoded(data)
    assert png.dtype == np.uint16
    assert png.shape == (48, 64, *channels) or png.shape in ((48, 64), (48, 64, 3))
    assert np.array_equal((png if png.ndim == 2 else png[:, :, 0]) >> 4, np.tile(ramp, (48, 1)))
    for wish in (Shot(), Shot(max_width_px=32)):
        data, output = codec.finish(codec.Picture(frame(given, 12)), wish)
        jpeg = decoded(data)
        assert jpeg.shape[1::-1] == (output.width_px, output.height_px)
        assert jpeg.min() <= 4
        assert jpeg.max() >= 251
    picture = codec.Picture(frame(given, 12))
    (output,) = picture.live_outputs([LiveVariant(1)])
    assert decoded(picture.render(output)).max() >= 251
