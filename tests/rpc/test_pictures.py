"""Odd and legal pictures of a camera's own, through the service: kept whole, shown upright."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info
from PIL import Image

from camsvc.images import jpeg, segments
from tests.support import jpegs, noise, plugins
from tests.support.history import PNG, download
from tests.support.jpegs import HEIGHT, KINDS, SRGB, TRAILERS, WIDTH
from tests.support.likeness import likeness
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

THUMBNAIL = api.DownloadImageRequest.VARIANT_THUMBNAIL
SMALL = {"max_width_px": 60}
OWN = KINDS["EXIF, profile, comment"]
"""It has EXIF: the service adds none."""
HELD = {number: jpegs.jpeg(exif=jpegs.exif(number), icc_profile=SRGB) for number in (1, 3, 6, 8)}


class Rig:
    """A service, and the picture that its camera takes."""

    def __init__(self, service: Service, picture: Path) -> None:
        self.service = service
        self._picture = picture

    def take(self, data: bytes) -> None:
        self._picture.write_bytes(data)

    async def still(self, **image: object) -> api.CaptureResponse:
        return await self.service.capture("file", image=pb.ImageOptions(**image))  # type: ignore[arg-type]

    async def forms(self, data: bytes) -> dict[str, Image.Image]:
        """Return what becomes of a picture in each form."""
        self.take(data)
        still = await self.still()
        kept = await download(self.service, still.capture.capture_id)
        assert kept.data == still.image_data == data, "as the camera made it"
        thumbnail = await download(self.service, still.capture.capture_id, variant=THUMBNAIL)
        found = {
            "PNG": (await self.still(format=PNG.format)).image_data,
            "scaled": (await self.still(**SMALL, quality_percent=95)).image_data,
            "thumbnail": thumbnail.data,
        }
        for name, limits in {"live": {}, "scaled live": {**SMALL, "quality_percent": 95}}.items():
            request = api.GetFrameRequest(camera="file", **limits)  # type: ignore[arg-type]
            frame = (await self.service.stub.GetFrame(request, timeout=CALL_S)).frame
            found[name] = frame.data
            assert Image.open(io.BytesIO(frame.data)).size == (frame.width_px, frame.height_px)
        return {name: Image.open(io.BytesIO(data)) for name, data in found.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    folder = tmp_path_factory.mktemp("pictures")
    picture = folder / "picture.jpg"
    picture.write_bytes(OWN)
    options = {"picture": str(picture)}
    settings = camera(
        "file", driver="plugins:FileCamera", env=plugins.ENV, options=options, attempts=1
    )
    wide = {"width_px": 65_501, "height_px": 8}
    settings += camera("wide", driver="noise:NoiseCamera", env=noise.ENV, options=wide)
    async with Service(folder, settings) as service:
        yield Rig(service, picture)


async def refused(
    rig: Rig, data: bytes, **image: object
) -> tuple[grpc.StatusCode, str | None, str]:
    rig.take(data)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.still(**image)
    info = error_info(caught.value)
    assert info is not None
    return info.code, info.reason, info.message


@pytest.mark.parametrize("orientation", HELD)
async def test_it_stands_the_same_way_and_keeps_its_colours(rig: Rig, orientation: int) -> None:
    own = HELD[orientation]
    for name, image in (await rig.forms(own)).items():
        assert likeness(image, Image.open(io.BytesIO(own))) > 0.9, name
        assert image.info["icc_profile"] == SRGB, name


@pytest.mark.parametrize("what", ["fill bytes", *TRAILERS, "a cut preview"])
async def test_what_is_legal_is_kept_as_it_is(rig: Rig, what: str) -> None:
    behind = TRAILERS.get(what, KINDS["grey"][:500] if what == "a cut preview" else b"")
    own = (jpegs.filled(OWN, [1, 2]) if what == "fill bytes" else OWN) + behind
    rig.take(own)
    still = await rig.still()
    assert still.image_data == own
    assert (still.capture.image.width_px, still.capture.image.height_px) == (WIDTH, HEIGHT)


async def test_stray_bytes_cost_no_picture(rig: Rig) -> None:
    """Before its begin they are dropped; between its segments they stay."""
    second = next(iter(segments.find(OWN))).end
    own = OWN[:second] + b"\0\xff\0" + OWN[second:]
    rig.take(b"\r\n" + own)
    still = await rig.still()
    assert still.image_data == own
    png = Image.open(io.BytesIO((await rig.still(format=PNG.format)).image_data))
    assert likeness(png, Image.open(io.BytesIO(OWN))) > 0.9
    request = api.GetFrameRequest(camera="file")
    assert (await rig.service.stub.GetFrame(request, timeout=CALL_S)).frame.data == own


async def test_one_that_was_cut_is_refused_though_a_whole_one_follows(rig: Rig) -> None:
    data = OWN[: len(OWN) // 2] + KINDS["grey"]
    code, reason, message = await refused(rig, data)
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "CAMERA_UNAVAILABLE")
    assert f"the JPEG of {len(data)} bytes ends in the middle, where another one begins" in message
    rig.take(OWN)
    assert (await rig.still()).image_data == OWN


async def test_motion_jpeg_is_kept_and_shown_with_its_tables(rig: Rig) -> None:
    tables = [part for part in segments.find(OWN) if part.marker == segments.DHT]
    bare = OWN[: tables[0].begin] + OWN[tables[-1].end :]
    rig.take(bare)
    still = await rig.still()
    kept = await download(rig.service, still.capture.capture_id)
    request = api.GetFrameRequest(camera="file")
    frame = (await rig.service.stub.GetFrame(request, timeout=CALL_S)).frame
    assert kept.data == still.image_data == frame.data != bare
    for table in tables:
        assert OWN[table.begin + 4 : table.end] in kept.data
    assert still.capture.image.size_bytes == len(kept.data)


async def test_what_no_jpeg_can_hold_is_the_requests_fault(rig: Rig) -> None:
    """The file is what its header says, and its camera is well throughout."""
    wide = jpegs.jpeg(jpegs.photo("L", 65_488, 8), exif=jpegs.exif(1))
    at = jpeg.read(wide).frame.begin + 7
    wide = wide[:at] + (65_530).to_bytes(2, "big") + wide[at + 2 :]
    rig.take(wide)
    assert (await rig.still()).image_data == wide
    unsupported = grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED"
    code, reason, message = await refused(rig, wide, **SMALL)
    assert (code, reason) == unsupported
    assert "65530 x 8 pixels: it can only be had as it is" in message
    with pytest.raises(grpc.aio.AioRpcError, match="65501 x 8 pixels .* ask for PNG") as caught:
        await rig.service.capture("wide")
    info = error_info(caught.value)
    assert info is not None
    assert (info.code, info.reason) == unsupported
    png = (await rig.service.capture("wide", image=PNG)).capture.image
    assert (png.width_px, png.height_px) == (65_501, 8)
    small = await rig.service.capture("wide", image=pb.ImageOptions(max_width_px=65_500))
    assert small.capture.image.width_px == 65_500
    for name in ("file", "wide"):
        shown = (await rig.service.camera(name)).camera
        assert shown.state == pb.Camera.STATE_READY
