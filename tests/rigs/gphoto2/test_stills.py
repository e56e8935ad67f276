"""Stills of virtual cameras: their files, exposures, and live view around them."""

import asyncio

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info

from tests.rigs.gphoto2.conftest import StartCamera
from tests.rigs.gphoto2.control import Value
from tests.rigs.gphoto2.rig import LIVE_PX, STILL_PX, Rig
from tests.support import endurance
from tests.support.history import (
    REFERENCE,
    WAIT,
    data_files,
    deleted,
    described,
    download,
    refusal,
    sha256,
)
from tests.support.live import Watcher
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import until

pytestmark = pytest.mark.rig

DSLR = "dslr"
BOTH, NEF, JPEG = 7, 4, 2
NEF_TYPE = "image/x-nikon-nef"
RAW = pb.ImageOptions(format=pb.ImageOptions.FORMAT_RAW)
PNG = pb.ImageOptions(format=pb.ImageOptions.FORMAT_PNG)


def seconds(value: float) -> pb.ControlSetting:
    exposure = pb.ControlValue(int_value=round(value * 1e6))
    return pb.ControlSetting(name="exposure_duration_us", value=exposure)


async def test_a_jpeg_is_that_of_the_camera_byte_for_byte(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    answer = await service.capture(DSLR)
    image = answer.capture.image
    assert (image.mime_type, image.width_px, image.height_px) == ("image/jpeg", *STILL_PX)
    original, header = rig.still(), 20  # the start marker and JFIF's segment; EXIF goes behind it
    assert answer.image_data.startswith(original[:header])
    assert answer.image_data.endswith(original[header:])
    assert not answer.capture.parts


# RAW and JPEG.


async def test_both_files_of_a_shot_are_one_capture(start_camera: StartCamera, rig: Rig) -> None:
    service = await start_camera(image_format="NEF+Fine")
    assert pb.ImageOptions.FORMAT_RAW in (await opened(service)).capabilities.formats
    for _ in range(2):
        answer = await service.capture(DSLR)
        capture = answer.capture
        assert [part.mime_type for part in capture.parts] == ["image/jpeg", NEF_TYPE]
        assert [part.name[-4:] for part in capture.parts] == [".JPG", ".NEF"]
        for field in ("mime_type", "width_px", "height_px", "size_bytes", "sha256"):
            assert getattr(capture.image, field) == getattr(capture.parts[0], field)
        assert await described(service, capture.capture_id) == capture
        for number, part in enumerate(capture.parts):
            whole = await download(service, capture.capture_id, part=number)
            assert (whole.size_bytes, whole.sha256) == (part.size_bytes, part.sha256)
            assert (whole.mime_type, sha256(whole.data)) == (part.mime_type, part.sha256)
            rest = await download(service, capture.capture_id, part=number, read_offset=1000)
            assert rest.data == whole.data[1000:]
    info = await refusal(download(service, capture.capture_id, part=2))
    assert "allowed: from 0 to 1" in info.message
    thumbnail = api.DownloadImageRequest.VARIANT_THUMBNAIL
    assert (await download(service, capture.capture_id, variant=thumbnail)).data
    assert len(data_files(service.data_dir)) == 4
    await deleted(service, capture.capture_id)
    assert len(data_files(service.data_dir)) == 2


async def test_the_format_asked_for_comes_first(start_camera: StartCamera, rig: Rig) -> None:
    service = await start_camera(image_format="NEF+Fine")
    for image, first in ((RAW, NEF_TYPE), (PNG, "image/png"), (None, "image/jpeg")):
        capture = (await service.capture(DSLR, image=image, delivery=REFERENCE)).capture
        assert capture.image.mime_type == first
        assert len(capture.parts) == 2
    assert rig.control.value(Value.QUALITY) == BOTH


@pytest.mark.parametrize(
    ("set_to", "asked", "mime_type"), [(JPEG, RAW, NEF_TYPE), (NEF, None, "image/jpeg")]
)
async def test_a_format_the_camera_is_not_set_to_is_set_for_the_one_shot(
    start_camera: StartCamera,
    rig: Rig,
    set_to: int,
    asked: pb.ImageOptions | None,
    mime_type: str,
) -> None:
    rig.control.turn(Value.QUALITY, set_to)
    service = await start_camera()
    capture = (await service.capture(DSLR, image=asked)).capture
    assert capture.image.mime_type == mime_type
    assert not capture.parts
    assert rig.control.value(Value.QUALITY) == set_to


async def test_the_thumbnail_of_a_raw_capture_is_made_of_its_jpeg(
    start_camera: StartCamera,
) -> None:
    service = await start_camera(image_format="NEF+Fine")
    capture = (await service.capture(DSLR, image=RAW)).capture
    thumbnail = api.DownloadImageRequest.VARIANT_THUMBNAIL
    small = await download(service, capture.capture_id, variant=thumbnail)
    assert small.mime_type == "image/jpeg"


async def test_what_was_fetched_can_be_deleted_from_the_camera(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera(keep_on_card=False)
    await service.capture(DSLR)

    async def gone() -> bool:
        return rig.control.told("deletions") == 1

    await until(gone, "the camera was told to delete it")


# Exposures.


async def test_the_bound_of_a_call_follows_a_bulb_exposure(
    start_camera: StartCamera, rig: Rig
) -> None:
    """An attempt may take 2 s, and the exposure on top. Beyond 2 s, this camera has bulb."""
    service = await start_camera()
    await service.capture(DSLR)
    with timing() as took:
        capture = (await service.capture(DSLR, controls=[seconds(3)])).capture
    took.assert_within(4)
    assert (capture.attempts, capture.exposure_duration.ToTimedelta().total_seconds()) == (1, 3)
    assert 3000 <= rig.control.told("bulb_ms") < 3300
    after = (await service.capture(DSLR)).capture
    assert after.exposure_duration.ToTimedelta().total_seconds() == 0.01


async def test_the_bound_of_a_call_follows_what_the_camera_is_set_to(
    start_camera: StartCamera, rig: Rig
) -> None:
    """Somebody turns its dial to 2 s; then its pictures come later than an attempt takes."""
    service = await start_camera()
    before = (await opened(service)).worst_case_capture_duration.ToTimedelta()
    rig.control.turn(Value.EXPOSURE, 20_000)

    async def heard() -> bool:
        camera = (await service.camera(DSLR)).camera
        return camera.worst_case_capture_duration.ToTimedelta() > before

    await until(heard, "the worst case has grown")
    rig.control.delay_ms = 2500
    capture = (await service.capture(DSLR)).capture
    assert (capture.attempts, capture.exposure_duration.seconds) == (1, 2)


# Live view.


async def test_live_view_keeps_to_its_rate_and_rests_when_nobody_watches(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera(live_fps=8.0)
    async with Watcher(service, DSLR) as watcher:
        frames = await watcher.until_frames(20)
        assert {(frame.width_px, frame.height_px) for frame in frames} == {LIVE_PX}
        assert len({frame.data for frame in frames}) == len(frames)
        first, last = (f.acquisition_time.ToNanoseconds() for f in (frames[0], frames[-1]))
        assert (last - first) / 1e9 >= 0.95 * (len(frames) - 1) / 8
        assert rig.control.told("live") == 1

    async def resting() -> bool:
        return rig.control.told("live") == 0

    await until(resting, "the camera's live view has ended")


@pytest.mark.timeout(endurance.TIMEOUT_S)
async def test_three_captures_in_quick_succession_leave_live_view_on_one_stream(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    async with Watcher(service, DSLR) as watcher:
        await watcher.until_frames(3)
        for _ in range(endurance.times(50)):
            shots = [service.capture(DSLR, busy_policy=WAIT, delivery=REFERENCE) for _ in range(3)]
            answers = await asyncio.gather(*shots)
            assert len({answer.capture.capture_id for answer in answers}) == 3
            await watcher.until_frames(3)
        assert watcher.error is None
        assert "PAUSED" in watcher.changes
        assert watcher.changes[-1] == "LIVE"
    assert rig.control.told("live_stills") == 0, "live view ends before each still"


async def test_a_camera_without_live_view_refuses_it_and_takes_stills(
    start_camera: StartCamera, rig: Rig
) -> None:
    """The virtual camera by itself has none, which only trying shows."""
    service = await start_camera(iolibs=str(rig.bare_iolibs))
    for _ in range(2):
        request = api.LiveViewRequest(camera=DSLR)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in service.stub.LiveView(request, timeout=CALL_S):
                pass
        assert error_info(caught.value).reason == "UNSUPPORTED"
    capture = (await service.capture(DSLR)).capture
    assert (capture.attempts, capture.recoveries) == (1, 0)


async def opened(service: Service) -> pb.Camera:
    """Return the camera once it is open."""
    await service.stub.ListControls(api.ListControlsRequest(camera=DSLR), timeout=CALL_S)
    return (await service.camera(DSLR)).camera
