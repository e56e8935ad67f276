"""Pictures on their way to viewers: untouched where possible, in shape always, whole or refused."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camsvc.drivers.simulated.test_picture import TestPicture, read_number
from camsvc.images import codec, jpeg, segments
from camsvc.model.errors import DriverError, Unsupported
from camsvc.model.values import Frame, LiveVariant, Shot
from tests.support.videos import psnr

WIDTH, HEIGHT, NUMBER = 1280, 720, 4711
PADDING = b"\0" * 5
"""Some cameras add it; it is part of what they delivered."""

SAME_DB = 36.5
"""The two ways of scaling round differently: 38 dB and more. Decoded too small and enlarged again,
a picture is at 36 dB or less."""

Pixels = npt.NDArray[np.uint8]


def picture(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    return TestPicture(width, height).paint(NUMBER, 0, "test")


def encoded(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return bytes(codec.encode(picture(width, height), codec.JPEG, 92)) + PADDING


def of_pixels() -> Frame:
    return Frame(1, pixels=picture())


def of_jpeg(data: bytes | None = None) -> Frame:
    return Frame(1, encoded=encoded() if data is None else data, mime_type=codec.JPEG)


def decoded(data: bytes | memoryview) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def sole(frame: Frame, *variants: LiveVariant) -> tuple[codec.Output, bytes | memoryview]:
    """Return the one picture that all variants want."""
    shown = codec.Picture(frame)
    ((output, served),) = shown.live_outputs(variants).items()
    assert served == list(variants)
    return output, shown.render(output)


@pytest.mark.parametrize(
    "wish",
    [
        LiveVariant(1),
        LiveVariant(1, max_width_px=WIDTH),
        LiveVariant(1, max_height_px=HEIGHT),
        LiveVariant(1, max_width_px=65535, max_height_px=65535),
    ],
)
def test_a_jpeg_of_the_cameras_own_passes_untouched(wish: LiveVariant) -> None:
    frame = of_jpeg()
    output, data = sole(frame, wish)
    assert data is frame.encoded
    assert (output.width_px, output.height_px) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("wish", [LiveVariant(1, quality_percent=40), LiveVariant(1, 320)])
def test_a_jpeg_is_encoded_again_for_another_quality_or_size(wish: LiveVariant) -> None:
    frame = of_jpeg()
    _, data = sole(frame, wish)
    assert data != frame.encoded
    assert read_number(decoded(data)) == NUMBER


@pytest.mark.parametrize("make", [of_pixels, of_jpeg])
@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ((640, None), (640, 360)),
        ((None, 360), (640, 360)),
        ((640, 640), (640, 360)),
        ((5000, 90), (160, 90)),
        ((1000, None), (1000, 562)),
        ((641, None), (641, 361)),
        ((639, None), (639, 359)),
        ((320, None), (320, 180)),
        ((161, None), (161, 91)),
        ((159, None), (159, 89)),
        ((1, None), (1, 1)),
        ((None, 1), (2, 1)),
        ((1, 65535), (1, 1)),
    ],
)
def test_a_size_is_what_is_announced_and_keeps_the_aspect(
    make: Callable[[], Frame], limits: tuple[int | None, int | None], size: tuple[int, int]
) -> None:
    """Of a JPEG too, whose decoder scales by 2, 4 or 8 before the rest is scaled."""
    output, data = sole(make(), LiveVariant(1, *limits))
    assert (output.width_px, output.height_px) == size
    assert decoded(data).shape == (size[1], size[0], 3)
    if size[0] >= 320:
        assert read_number(decoded(data)) == NUMBER, "it is the whole picture"


@given(
    size=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    limits=st.tuples(st.none() | st.integers(1, 65535), st.none() | st.integers(1, 65535)),
)
def test_no_size_is_ever_enlarged_or_beyond_its_limits(
    size: tuple[int, int], limits: tuple[int | None, int | None]
) -> None:
    width, height = codec.fit(*size, *limits)
    assert 1 <= width <= min(size[0], limits[0] or size[0])
    assert 1 <= height <= min(size[1], limits[1] or size[1])
    # Rounded to whole pixels, one side at least is as large as it may be.
    assert width == min(size[0], limits[0] or size[0]) or height == min(
        size[1], limits[1] or size[1]
    )


@pytest.mark.parametrize(("width", "size"), [(640, 640), (640, 320), (640, 80), (641, 161)])
def test_a_jpeg_of_odd_size_is_scaled_to_the_pixel(width: int, size: int) -> None:
    """The decoder rounds up where it scales: 641 by 4 are 161."""
    frame = of_jpeg(encoded(width, 481))
    output, data = sole(frame, LiveVariant(1, size, quality_percent=80))
    assert decoded(data).shape[1::-1] == (output.width_px, output.height_px)


@pytest.mark.parametrize("width", [1000, 640, 600, 320, 300, 161])
def test_a_jpeg_scaled_while_it_is_decoded_is_as_sharp_as_one_scaled_after(width: int) -> None:
    wish = LiveVariant(1, max_width_px=width, quality_percent=95)
    _, ours = sole(of_jpeg(), wish)
    _, reference = sole(of_pixels(), wish)
    assert psnr(decoded(ours), decoded(reference)) > SAME_DB


def test_equal_wishes_are_encoded_once() -> None:
    same = [LiveVariant(1), LiveVariant(2, max_width_px=5000), LiveVariant(3, quality_percent=80)]
    wanted = codec.Picture(of_pixels()).live_outputs([*same, LiveVariant(4, quality_percent=30)])
    assert [[variant.id for variant in variants] for variants in wanted.values()] == [
        [1, 2, 3],
        [4],
    ]


def test_a_lower_quality_is_fewer_bytes() -> None:
    sizes = []
    for quality in (10, 50, 95):
        _, data = sole(of_pixels(), LiveVariant(1, quality_percent=quality))
        sizes.append(len(data))
    assert sizes == sorted(sizes)
    assert sizes[0] * 2 < sizes[2]


def test_nobody_wants_anything() -> None:
    assert codec.Picture(of_pixels()).live_outputs([]) == {}


@pytest.mark.parametrize("kept", [0, 1, 2, 100, 0.5, 0.99])
@pytest.mark.parametrize("wish", [LiveVariant(1), LiveVariant(1, max_width_px=320)])
def test_a_truncated_jpeg_is_refused(kept: float, wish: LiveVariant) -> None:
    """OpenCV would decode it, grey below the cut, and say nothing."""
    whole = encoded()
    data = whole[: kept if isinstance(kept, int) else int(len(whole) * kept)]
    with pytest.raises(DriverError, match="corrupt picture"):
        codec.Picture(of_jpeg(data)).live_outputs([wish])


@pytest.mark.parametrize("width", [None, WIDTH // 4])
@pytest.mark.parametrize("make", [of_pixels, of_jpeg])
def test_a_still_as_png_is_one_whatever_the_camera_delivers(
    make: Callable[[], Frame], width: int | None
) -> None:
    data, output = codec.finish(codec.Picture(make()), Shot(format="PNG", max_width_px=width))
    assert bytes(data).startswith(b"\x89PNG")
    assert output.mime_type == codec.PNG
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (output.height_px, output.width_px, 3)
    assert output.width_px == (width or WIDTH)


@pytest.mark.parametrize(
    ("at", "byte", "kind"),
    [(1, 0xC3, "lossless coding"), (1, 0xCB, "arithmetic lossless coding"), (4, 12, "12 bits")],
)
def test_what_no_decoder_here_reads_is_kept_and_told(at: int, byte: int, kind: str) -> None:
    """Nothing is wrong with the camera: its file is whole."""
    data = bytearray(encoded())
    data[jpeg.read(bytes(data)).frame.begin + at] = byte
    frame = of_jpeg(bytes(data))
    assert codec.finish(codec.Picture(frame), Shot())[0] is frame.encoded
    for shot in (Shot("PNG"), Shot(max_width_px=300), Shot(quality_percent=50)):
        with pytest.raises(Unsupported, match=f"{kind}.* only be had as it is"):
            codec.finish(codec.Picture(frame), shot)


def test_what_is_damaged_between_its_markers_may_not_be_decoded() -> None:
    """That may pass: it is no limit of the format."""
    data = encoded(16, 16)
    tables = [part for part in segments.find(data) if part.marker == segments.DHT]
    counts = tables[0].begin + 5
    damaged = data[:counts] + b"\x0c" + bytes(15) + data[counts + 16 :]
    with pytest.raises(DriverError, match="cannot be decoded"):
        codec.finish(codec.Picture(of_jpeg(damaged)), Shot("PNG"))


@pytest.mark.parametrize("limit", [None, 65_535])
def test_live_frames_are_no_larger_than_a_jpeg_can_be(limit: int | None) -> None:
    frame = Frame(1, pixels=np.zeros((4, 65_501, 3), np.uint8))
    output, data = sole(frame, LiveVariant(1, max_width_px=limit))
    assert output.width_px == decoded(data).shape[1] == codec.LARGEST_JPEG_PX
