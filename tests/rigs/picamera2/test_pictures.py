"""What Picamera2 cameras give: sizes as they are, controls in the contract's units, real times."""

import io
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import error_info
from PIL.TiffImagePlugin import BITSPERSAMPLE, ImageFileDirectory_v2

from camsvc.ipc import messages as m
from camsvc.model.registry import BUILTIN
from camsvc.worker_pool.process import WorkerProcess
from tests.conftest import StartService
from tests.rigs.picamera2.rig import FPS, SIZE, RigCamera
from tests.support.live import Status, Watcher, pixels_of
from tests.support.service import CALL_S, Service
from tests.support.settings import resolved
from tests.support.timing import Timing, timing

pytestmark = pytest.mark.rig

LENS_STEP = 0.01
SWITCH_S = 1.0
"""For starting the camera anew, and all else beside an exposure; 0.1 s on a machine at rest."""


async def camera_of(service: Service, name: str = "pi") -> pb.Camera:
    """Return the camera, after a first picture."""
    await service.capture(name)
    return (await service.camera(name)).camera


def setting(name: str, value: float | str) -> pb.ControlSetting:
    kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
    return pb.ControlSetting(name=name, value=pb.ControlValue(**{kind: value}))  # type: ignore[arg-type]


def values(controls: Any) -> dict[str, Any]:
    return {c.name: getattr(c.value, c.value.WhichOneof("kind")) for c in controls}


async def values_of(service: Service) -> dict[str, Any]:
    request = api.ListControlsRequest(camera="pi")
    return values((await service.stub.ListControls(request, timeout=CALL_S)).controls)


def size_of(response: api.CaptureResponse) -> tuple[int, int]:
    pixels = cv2.imdecode(np.frombuffer(response.image_data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    height, width = pixels.shape[:2]
    assert (response.capture.image.width_px, response.capture.image.height_px) == (width, height)
    return width, height


async def test_the_worker_runs_under_the_python_that_has_the_library(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    service = await start_service(pi_cameras[0].settings("pi"))
    shown = await camera_of(service)
    assert (shown.driver, shown.model) == ("picamera2", "rig-left")
    theirs = {worker.exe() for worker in service.workers()}
    assert theirs
    assert service.ps.exe() not in theirs


async def test_what_the_camera_silently_adjusts_is_told(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """This one has three sizes and NV12; pictures are right all the same."""
    asked = {"width_px": 1000, "height_px": 700, "live_width_px": 500, "live_height_px": 300}
    service = await start_service(pi_cameras[0].settings("pi", **asked))
    shown = await camera_of(service)
    assert list(shown.warnings) == [
        "live_width_px and live_height_px are set to 500x300, which the camera does not have: it "
        "gives 1920x1080",
        "width_px and height_px are set to 1000x700, which the camera does not have: it gives "
        "1920x1080",
    ]
    assert [(s.width_px, s.height_px) for s in shown.capabilities.sizes] == [SIZE]
    assert size_of(await service.capture("pi")) == SIZE


@pytest.mark.parametrize("both", [True, False])
async def test_what_nobody_asked_for_is_no_warning(
    start_service: StartService, pi_cameras: Sequence[RigCamera], both: bool
) -> None:
    """Its pictures are NV12, which the settings have no say in; nor do they name a size."""
    service = await start_service(pi_cameras[0].settings("pi", capture_during_live_view=both))
    assert list((await camera_of(service)).warnings) == []


async def test_stills_are_of_the_sensors_size_and_live_view_of_its_own(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """They take turns, and the viewer's stream goes on."""
    service = await start_service(pi_cameras[0].settings("pi"))
    async with Watcher(service, "pi") as watcher:
        for _ in range(3):
            frames = await watcher.until_frames(5)
            assert pixels_of(frames[-1]).shape[:2] == (720, 1280)
            assert size_of(await service.capture("pi")) == SIZE
        await watcher.until_frames(3)
    assert watcher.count(Status.STATE_PAUSED) == 3
    assert watcher.count(Status.STATE_RECOVERING) == 0


async def test_stills_can_be_taken_from_the_running_stream(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    settings = pi_cameras[0].settings("pi", capture_during_live_view=True)
    service = await start_service(settings)
    async with Watcher(service, "pi") as watcher:
        await watcher.until_frames(5)
        for _ in range(3):
            assert size_of(await service.capture("pi")) == SIZE
            assert pixels_of((await watcher.until_frames(3))[-1]).shape[:2] == (720, 1280)
    assert watcher.changes == ["STARTING", "LIVE"]
    assert (await service.camera("pi")).camera.capabilities.capture_during_live_view


async def test_a_picture_has_the_sensors_time_and_the_frames_own_values(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """Exposure and gain are automatic; what they were is told, and what they are set to is too."""
    service = await start_service(pi_cameras[0].settings("pi"))
    await camera_of(service)
    asked_ns = time.time_ns()
    capture = (await service.capture("pi")).capture
    acquired_ns = capture.acquisition_time.ToNanoseconds()
    # It was begun after it was asked for, and the next frame at the latest.
    begun_ns = acquired_ns - capture.exposure_duration.ToNanoseconds()
    assert asked_ns <= begun_ns <= asked_ns + 3e9 / FPS
    assert capture.exposure_duration.ToMilliseconds() == 10
    told = values(capture.controls)
    assert (told["exposure_duration_us"], told["gain"]) == (10_000, 1.0)
    set_to = await values_of(service)
    assert (set_to["exposure_duration_us"], set_to["gain"]) == (0, 0.0)


async def test_a_shots_controls_are_those_of_its_frame_and_of_no_other(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """Nothing is told by what was asked for: it is the frame's own metadata."""
    service = await start_service(pi_cameras[0].settings("pi"))
    await camera_of(service)
    before = await values_of(service)
    wanted = {"focus_distance_diopters": 8.2, "exposure_duration_us": 40_000, "gain": 4.0}
    for _ in range(3):
        controls = [setting(name, value) for name, value in wanted.items()]
        capture = (await service.capture("pi", controls=controls)).capture
        told = values(capture.controls)
        assert told["focus_distance_diopters"] == pytest.approx(8.2, abs=LENS_STEP)
        assert (told["exposure_duration_us"], told["gain"]) == (40_000, 4.0)
        assert capture.exposure_duration.ToMilliseconds() == 40
        assert capture.attempts == 1
        assert await values_of(service) == before
        told = values((await service.capture("pi")).capture.controls)
        assert told["focus_distance_diopters"] == pytest.approx(1.0, abs=LENS_STEP)
        assert (told["exposure_duration_us"], told["gain"]) == (10_000, 1.0)


async def test_an_exposure_may_be_longer_than_the_drivers_patience(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    service = await start_service(pi_cameras[0].settings("pi", frame_timeout_s=0.5))
    await camera_of(service)
    controls = [setting("exposure_duration_us", 1_000_000)]
    capture = (await service.capture("pi", controls=controls)).capture
    assert capture.exposure_duration.ToMilliseconds() == 1000
    assert capture.attempts == 1


@pytest.mark.parametrize("both", [True, False])
async def test_a_long_exposure_is_over_with_its_picture(
    start_service: StartService, pi_cameras: Sequence[RigCamera], both: bool
) -> None:
    """Nothing waits for those that the sensor has begun after it; it is stopped in the middle."""
    keys = {"frame_timeout_s": 1.0, "attempts": 1, "capture_during_live_view": both}
    service = await start_service(pi_cameras[0].settings("pi", **keys))
    await camera_of(service)
    long = [setting("exposure_duration_us", 3_000_000)]
    capture, took = await timed(service, controls=long)
    assert capture.exposure_duration.ToMilliseconds() == 3000
    took.assert_within(3 + SWITCH_S)
    capture, took = await timed(service)
    assert capture.exposure_duration.ToMilliseconds() == 10
    took.assert_within(SWITCH_S)
    await timed(service, controls=long)
    async with Watcher(service, "pi") as watcher:
        await watcher.until_frames(5, within_s=SWITCH_S)
    assert watcher.changes == ["STARTING", "LIVE"]


async def test_a_long_exposure_of_the_settings_begins_when_it_is_asked_for(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """The sensor is in the middle of one then, whose end is not awaited."""
    controls = {"exposure_duration_us": 3_000_000}
    keys = {"attempt_timeout_s": 2.0, "attempts": 1, "frame_timeout_s": 1.0}
    service = await start_service(pi_cameras[0].settings("pi", controls=controls, **keys))
    await camera_of(service)
    for changed in ([], [setting("focus_distance_diopters", 2.0)], []):
        capture, took = await timed(service, controls=changed)
        assert capture.exposure_duration.ToMilliseconds() == 3000
        took.assert_within(3 + SWITCH_S)


async def timed(service: Service, **keys: Any) -> tuple[pb.Capture, Timing]:
    """Take a picture; return it, and how long it took."""
    with timing() as took:
        capture = (await service.capture("pi", **keys)).capture
    return capture, took


async def test_controls_hold_through_a_change_of_configuration(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    controls = {"focus_distance_diopters": 8.2, "white_balance": "daylight"}
    service = await start_service(pi_cameras[0].settings("pi", controls=controls))
    async with Watcher(service, "pi") as watcher:
        for _ in range(2):
            await watcher.until_frames(3)
            told = values((await service.capture("pi")).capture.controls)
            assert told["focus_distance_diopters"] == pytest.approx(8.2, abs=LENS_STEP)
            assert told["white_balance"] == "daylight"


async def test_a_focus_distance_that_would_not_be_heeded_is_refused(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    service = await start_service(
        pi_cameras[0].settings("pi", controls={"focus_mode": "continuous"})
    )
    await camera_of(service)
    distance = setting("focus_distance_diopters", 5.0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture("pi", controls=[distance])
    info = error_info(caught.value)
    assert info.reason == "INVALID_REQUEST"
    assert (
        "5.0 has no effect while focus_mode is 'continuous'; set focus_mode to 'manual' too"
        in info.message
    )
    both = [distance, setting("focus_mode", "manual")]
    told = values((await service.capture("pi", controls=both)).capture.controls)
    assert told["focus_distance_diopters"] == pytest.approx(5.0, abs=LENS_STEP)
    assert (await values_of(service))["focus_mode"] == "continuous"


async def test_automatic_focus_is_over_before_the_picture_is_taken(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """This lens takes five frames."""
    service = await start_service(pi_cameras[0].settings("pi", controls={"focus_mode": "auto"}))
    await camera_of(service)
    asked_ns = time.time_ns()
    capture = (await service.capture("pi")).capture
    waited_ns = capture.acquisition_time.ToNanoseconds() - asked_ns
    assert 5e9 / FPS <= waited_ns < 15e9 / FPS


async def test_a_raw_picture_is_a_dng_of_the_sensors_own_data(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    service = await start_service(pi_cameras[0].settings("pi"))
    shown = await camera_of(service)
    assert pb.ImageOptions.FORMAT_RAW in shown.capabilities.formats
    image = pb.ImageOptions(format=pb.ImageOptions.FORMAT_RAW)
    response = await service.capture("pi", image=image, max_inline_bytes=2**26)
    assert response.capture.image.mime_type == "image/x-adobe-dng"
    assert response.capture.exposure_duration.ToMilliseconds() == 10
    tags = tiff_tags(response.image_data)
    width, length, dng_version, cfa_pattern, model = 256, 257, 50706, 33422, 50708
    assert (tags[width], tags[length]) == SIZE
    assert tags[BITSPERSAMPLE] == (12,)
    assert tags[cfa_pattern] == b"\x00\x01\x01\x02", "RGGB"
    assert tags[model] == "rig-left"
    assert dng_version in tags
    download = service.stub.DownloadImage(
        api.DownloadImageRequest(capture_id=response.capture.capture_id)
    )
    assert b"".join([part.data async for part in download]) == response.image_data
    assert size_of(await service.capture("pi")) == SIZE


def tiff_tags(data: bytes) -> Mapping[int, Any]:
    """Return the first directory of a TIFF file, which a DNG is."""
    file = io.BytesIO(data)
    found = ImageFileDirectory_v2(file.read(8))
    file.seek(found.next)
    found.load(file)
    return dict(found)


async def test_both_cameras_of_one_pi_take_their_pictures_together(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    names = ("left", "right")
    settings = [c.settings(name) for c, name in zip(pi_cameras, names, strict=True)]
    service = await start_service("".join(settings))
    requests = [api.CaptureRequest(camera=name) for name in names]
    for _ in range(3):
        answer = await service.stub.CaptureGroup(
            api.CaptureGroupRequest(requests=requests), timeout=20
        )
        assert [r.capture.state for r in answer.results] == 2 * [pb.Capture.STATE_SUCCEEDED]
    skew_s = answer.acquisition_skew.ToTimedelta().total_seconds()
    print(f"skew {skew_s * 1e3:.1f} ms")
    assert skew_s < 2 / FPS, "they run freely: a frame apart at most"
    models = {(await service.camera(name)).camera.model for name in names}
    assert models == {"rig-left", "rig-right"}


async def test_discovery_lists_both_and_knows_the_one_that_is_configured(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """By the stable id; the camera's settings name it by its model here."""
    service = await start_service(pi_cameras[0].settings("pi", source="rig-left"))
    answer = await service.stub.DiscoverCameras(api.DiscoverCamerasRequest(), timeout=20)
    found = {d.model: d for d in answer.devices if d.driver == "picamera2"}
    assert {model: d.camera for model, d in found.items()} == {"rig-left": "pi", "rig-right": ""}
    assert 'source = "right"' in found["rig-right"].settings_snippet


async def test_the_diagnosis_names_the_camera_and_the_libraries_versions(
    pi_cameras: Sequence[RigCamera],
) -> None:
    camera = pi_cameras[0]
    worker = await WorkerProcess.start(camera.launch(BUILTIN["picamera2"].driver))
    try:
        answer = await worker.call(m.Diagnose(resolved("picamera2", source=camera.source)), 10)
    finally:
        worker.kill("the test is over")
        await worker.wait_ended()
    first = answer.findings[0]
    assert first.ok
    assert re.fullmatch(r"attached: rig-left; Picamera2 \d[\d.]+, libcamera v\d[\d.]+", first.text)


async def test_a_camera_that_is_not_there_is_told_with_those_that_are(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    settings = pi_cameras[0].settings("pi", source=7, attempts=1, open_timeout_s=5.0)
    service = await start_service(settings)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture("pi")
    assert error_info(caught.value).reason == "CAMERA_UNAVAILABLE"
    told = (await service.camera("pi")).camera.fault.message
    assert "no camera is attached as the settings' source 7" in told
    assert "attached are: 0: rig-right, 1: rig-left" in told
