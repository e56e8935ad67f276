"""Public collections of JPEGs: the whole ones are kept, and look the same in each form."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from PIL import Image

from camsvc.images import codec, completed, jpeg
from camsvc.images.thumbnail import thumbnail_of
from camsvc.model.errors import DriverError
from camsvc.model.values import Frame, LiveVariant, Shot
from tests.conftest import StartService
from tests.rigs.pictures.rig import fetched, pictures
from tests.rigs.running import needed
from tests.support import giving, plugins
from tests.support.jpegs import strictly_decoded
from tests.support.likeness import likeness
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service

pytestmark = [
    pytest.mark.rig,
    # Pillow tells of odd EXIF, of more pictures in one that it cannot read, and of large ones.
    pytest.mark.filterwarnings(
        "ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning"
    ),
]

ORIGINAL = api.DownloadImageRequest.VARIANT_ORIGINAL
THUMBNAIL = api.DownloadImageRequest.VARIANT_THUMBNAIL

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


def differing(path: Path, made_of_it: dict[str, bytes]) -> list[str]:
    """Return which of the pictures made of one do not look like it."""
    different = []
    original = Image.open(io.BytesIO(path.read_bytes()), formats=["JPEG"])
    least = ALIKE_IF_TINY if max(original.size) < TINY_PX else ALIKE
    for way, result in made_of_it.items():
        alike = likeness(Image.open(io.BytesIO(result)), original)
        if alike < least:
            different.append(f"{path.name} {original.size} {way}: {alike:.4f}")
    return different


def test_the_whole_ones_are_kept_and_look_the_same_in_each_form(collections: list[Path]) -> None:
    tried, different = 0, []
    for path in collections:
        data = path.read_bytes()
        if not is_whole(data):
            continue
        assert completed.read(data)[0] is data
        frame = Frame(1, encoded=data, mime_type=codec.JPEG)
        assert codec.finish(codec.Picture(frame), Shot())[0] is data
        different += differing(path, made(frame))
        tried += 1
    print(f"{tried} pictures")
    assert tried > 150
    assert not different


async def made_by(service: Service, folder: Path, path: Path) -> dict[str, bytes]:
    """Return what a service makes of a picture that its camera hands over, in each way."""
    given = f"good(pixels=None, encoded=Path({str(path)!r}).read_bytes(), mime_type='image/jpeg')"

    async def still(**image: int) -> str:
        giving.write(folder, "still", given)
        options = pb.ImageOptions(**image)  # type: ignore[arg-type]
        reference = api.CaptureRequest.DELIVERY_REFERENCE
        return (await service.capture("odd", image=options, delivery=reference)).capture.capture_id

    async def download(capture_id: str, variant: int = ORIGINAL) -> bytes:
        request = api.DownloadImageRequest(capture_id=capture_id, variant=variant)  # type: ignore[arg-type]
        parts = service.stub.DownloadImage(request, timeout=CALL_S)
        return b"".join([part.data async for part in parts])

    kept = await still()
    assert np.array_equal(pixels(io.BytesIO(await download(kept))), pixels(path)), path.name
    side, quality = SCALED_PX, QUALITY_PERCENT
    scaled = await still(
        format=pb.ImageOptions.FORMAT_JPEG,
        max_width_px=side,
        max_height_px=side,
        quality_percent=quality,
    )
    giving.write(folder, "frame", given)
    live = await service.stub.GetFrame(
        api.GetFrameRequest(
            camera="odd", max_width_px=LIVE_PX, max_height_px=LIVE_PX, quality_percent=quality
        ),
        timeout=CALL_S,
    )
    return {
        "PNG": await download(await still(format=pb.ImageOptions.FORMAT_PNG)),
        "scaled": await download(scaled),
        "thumbnail": await download(kept, THUMBNAIL),
        "live": live.frame.data,
    }


def pixels(file: io.BytesIO | Path) -> npt.NDArray[np.uint8]:
    with Image.open(file) as picture:
        return np.asarray(picture)


async def test_a_camera_that_gives_them_has_them_kept_and_shown(
    collections: list[Path], start_service: StartService, tmp_path: Path
) -> None:
    options = {"folder": str(tmp_path)}
    service = await start_service(
        camera("odd", driver="giving:GivingCamera", env=plugins.ENV, options=options)
    )
    different = []
    for path in filter(lambda each: is_whole(each.read_bytes()), collections):
        different += differing(path, await made_by(service, tmp_path, path))
    assert not different
