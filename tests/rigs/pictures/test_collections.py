"""Public collections of JPEGs: the whole ones are kept, and look the same in each form."""

import io
import warnings
from pathlib import Path

import pytest
from PIL import Image

from camsvc.images import codec, completed, jpeg
from camsvc.model.errors import DriverError
from camsvc.model.values import Frame, LiveVariant, Shot
from camsvc.storage.thumbnails import thumbnail_of
from tests.rigs.pictures.rig import fetched, pictures
from tests.rigs.running import needed
from tests.support.jpegs import strictly_decoded
from tests.support.likeness import likeness

pytestmark = pytest.mark.rig

TOLERATED = {
    "hopper_bad_exif.jpg",
    "icc-after-SOF.jpg",
    "jpeg_ff00_header.jpg",
    "junk_jpeg_header.jpg",
    "truncated_app14.jpg",
}
"""Whole, and all that is wrong with them is what no viewer minds: bytes too many at the end of a
scan or between segments, a profile that is none."""
ALIKE, ALIKE_IF_TINY, TINY_PX = 0.98, 0.95, 150
SCALED_PX, LIVE_PX, QUALITY_PERCENT = 400, 640, 95


@pytest.fixture(scope="module")
def collections() -> list[Path]:
    with needed():
        return list(pictures(fetched()))


def is_whole(data: bytes) -> bool:
    try:
        jpeg.read(data)
    except DriverError:
        return False
    return True


def test_those_that_a_strict_decoder_reads_are_accepted_and_no_others(
    collections: list[Path],
) -> None:
    whole = {path for path in collections if is_whole(path.read_bytes())}
    strict = {path for path in collections if strictly_decoded(path.read_bytes()) is not None}
    print(f"{len(collections)} pictures, {len(whole)} whole")
    assert not strict - whole
    assert {path.name for path in whole - strict} == TOLERATED


def made(frame: Frame) -> dict[str, bytes]:
    """Return what is made of a frame in each way."""
    side, quality = SCALED_PX, QUALITY_PERCENT
    picture = codec.Picture(frame)
    (output,) = picture.live_outputs([LiveVariant(1, LIVE_PX, LIVE_PX, quality)])
    thumbnail = thumbnail_of(frame.encoded or b"")
    assert thumbnail is not None
    return {
        "PNG": bytes(codec.finish(codec.Picture(frame), Shot("PNG"))[0]),
        "scaled": bytes(codec.finish(codec.Picture(frame), Shot("JPEG", quality, side, side))[0]),
        "live": bytes(picture.render(output)),
        "thumbnail": thumbnail,
    }


def test_the_whole_ones_are_kept_and_look_the_same_in_each_form(collections: list[Path]) -> None:
    tried, different = 0, []
    for path in collections:
        data = path.read_bytes()
        if not is_whole(data):
            continue
        assert completed.read(data)[0] is data
        frame = Frame(1, encoded=data, mime_type=codec.JPEG)
        assert codec.finish(codec.Picture(frame), Shot())[0] is data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow tells of odd EXIF, and of large pictures
            original = Image.open(io.BytesIO(data), formats=["JPEG"])
            least = ALIKE_IF_TINY if max(original.size) < TINY_PX else ALIKE
            for way, result in made(frame).items():
                alike = likeness(Image.open(io.BytesIO(result)), original)
                if alike < least:
                    different.append(f"{path.name} {original.size} {way}: {alike:.4f}")
        tried += 1
    print(f"{tried} pictures")
    assert tried > 150
    assert not different
