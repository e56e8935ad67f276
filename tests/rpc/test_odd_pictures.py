"""Pictures that are none, odd files beside good ones, pixels of every kind: what a client sees."""

from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.conftest import StartService
from tests.support import giving, plugins
from tests.support.events import Event, EventReader
from tests.support.history import download
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service

JPEG, PNG, RAW = (
    pb.ImageOptions(format=kind)
    for kind in (
        pb.ImageOptions.FORMAT_JPEG,
        pb.ImageOptions.FORMAT_PNG,
        pb.ImageOptions.FORMAT_RAW,
    )
)

THUMBNAIL = api.DownloadImageRequest.VARIANT_THUMBNAIL
YEAR_10000 = "time.time_ns() + 253_402_300_800 * 10**9"

NO_PICTURES = [
    (
        JPEG,
        f"good(acquisition_time_ns={YEAR_10000})",
        "s ahead of now; allowed: from 3600 s before",
    ),
    (JPEG, "None", "the camera's driver gave nothing instead of a frame"),
    (JPEG, "good(pixels=np.zeros((0, 4, 3), np.uint8))", "an empty frame, of the shape (0, 4, 3)"),
    (
        PNG,
        "good(pixels=np.zeros((480, 640), np.float32))",
        "float32 with the shape (480, 640); all",
    ),
    (JPEG, "file(JPEG[:-9])", "corrupt picture: the JPEG"),
    (
        JPEG,
        "file(b'<!DOCTYPE html><p>Please log in')",
        "the camera sent an HTML page; allowed",
    ),
    (RAW, "file(b'')", "corrupt picture: the camera's file is empty"),
    (RAW, "file(b'<html>')", "the camera sent an HTML page; allowed: a RAW file: CR2, CR3"),
    (RAW, "file(TIFF, announced_bytes=25_000_000)", "has 14 bytes; it announced 25000000"),
    (RAW, "file(b'II*' + bytes([0]) + (2**20).to_bytes(4, 'little') * 99)", "400 bytes is cut off"),
    (RAW, "good()", "the camera's driver gave pixels instead of a RAW file"),
    (JPEG, "1 / 0", "the driver failed: division by zero"),
    (JPEG, "None + 1", "the driver failed by a mistake in its program"),
]


async def serving(start_service: StartService, folder: Path) -> Service:
    options = {"folder": str(folder)}
    odd = camera("odd", driver="giving:GivingCamera", env=plugins.ENV, options=options, attempts=1)
    return await start_service(odd + camera("other"))


async def given(service: Service, folder: Path, image: pb.ImageOptions, still: str) -> pb.Capture:
    giving.write(folder, "still", still)
    return (await service.capture("odd", image=image)).capture


async def test_what_is_no_picture_is_refused_by_what_it_is_and_nothing_else_notices(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await serving(start_service, tmp_path)
    await service.capture("odd")
    await service.capture("other")
    pid = (await service.camera("other")).camera.worker_pid
    for image, still, text in NO_PICTURES:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await given(service, tmp_path, image, still)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, still
        assert text in (caught.value.details() or ""), still
        await service.capture("odd")
    giving.write(tmp_path, "frame", f"good(acquisition_time_ns={YEAR_10000})")
    frame = await service.stub.GetFrame(api.GetFrameRequest(camera="odd"), timeout=CALL_S)
    assert frame.frame.width_px == giving.SIDE
    listed = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
    assert [each.camera for each in listed.cameras] == ["odd", "other"]
    assert listed.cameras[1].worker_pid == pid


async def test_an_odd_file_beside_the_picture_is_a_warning_that_is_kept_with_it(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await serving(start_service, tmp_path)
    cut = "File('1.JPG', 'image/jpeg', JPEG[:-9])"
    empty = "File('1.WAV', 'audio/wav', b'')"
    async with EventReader(service) as reader:
        still = f"file(TIFF, others=[{cut}, {empty}], exposure_us=-5, warnings=['no flash'])"
        capture = await given(service, tmp_path, RAW, still)
        *_, succeeded = await reader.until_type(Event.TYPE_SUCCEEDED)
    assert [part.name for part in capture.parts] == ["", "1.JPG"]
    assert (await download(service, capture.capture_id, part=1)).data == giving.JPEG[:-9]
    said = list(capture.warnings)
    assert said[0] == "no flash"
    assert "the exposure was left out: the driver gave -5" in said[1]
    assert "file 2 of the shot, '1.JPG', is kept as it came: corrupt picture" in said[2]
    assert "file 3 of the shot, '1.WAV', was left out: corrupt picture: " in said[3]
    assert not capture.HasField("exposure_duration")
    request = api.GetCaptureRequest(capture_id=capture.capture_id)
    kept = await service.stub.GetCapture(request, timeout=CALL_S)
    assert list(kept.capture.warnings) == said
    assert list(succeeded.capture.warnings) == said


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
async def test_a_picture_of_12_bits_is_right_in_every_form(
    start_service: StartService, tmp_path: Path, channels: tuple[int, ...]
) -> None:
    service = await serving(start_service, tmp_path)
    shape = (32, 32, *channels)
    still = f"good(pixels=np.full({shape}, 1000, '>u2')[::-1], bits=12)"
    png = await given(service, tmp_path, PNG, still)
    assert not png.warnings
    data = (await download(service, png.capture_id)).data
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert pixels.dtype == np.uint16
    assert pixels.shape[2:] in ((), (3,)), "nothing of it is transparent"
    assert set(np.unique(np.asarray(pixels, np.uint16) >> 4)) == {1000}
    jpeg = await given(service, tmp_path, JPEG, still)
    for downloaded in (
        await download(service, jpeg.capture_id),
        await download(service, png.capture_id, variant=THUMBNAIL),
    ):
        shown = cv2.imdecode(np.frombuffer(downloaded.data, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert abs(float(shown.mean()) - 1000 / 16) < 2


async def test_a_camera_that_describes_itself_oddly_is_shown_and_keeps_no_other_out(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await serving(start_service, tmp_path)
    long = "{str(n): 'x' * 9000 for n in range(5000)}"
    device = f"DeviceInfo('caf' + chr(0xdce9), ['JPEG'], details={long}, warnings=['w'] * 9999)"
    giving.write(tmp_path, "device", device)
    await service.capture("odd")
    listed = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
    shown = listed.cameras[0]
    assert (shown.model, len(shown.details), len(shown.warnings)) == ("caf?", 64, 32)
    assert listed.ByteSize() < 200_000


async def test_a_device_that_cannot_be_described_is_tried_again_and_keeps_no_other_out(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await serving(start_service, tmp_path)
    for device in ("DeviceInfo('odd', ['HEIF'])", "None"):
        giving.write(tmp_path, "device", device)
        request = api.ResetCameraRequest(camera="odd")
        await service.stub.ResetCamera(request, timeout=CALL_S)
        listed = await service.stub.ListCameras(api.ListCamerasRequest(), timeout=CALL_S)
        assert len(listed.cameras) == 2
    lost = [entry["error"] for entry in service.log() if entry["event"] == "camera lost"]
    assert "formats[0] is 'HEIF'; allowed: JPEG, PNG, RAW" in lost[0]
    assert lost[1] == "the camera's driver describes its device by nothing"
