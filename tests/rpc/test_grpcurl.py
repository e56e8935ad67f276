"""The service by hand, with the real grpcurl: no file of the contract is given to it."""

import asyncio
import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from camapi.v1 import camera_pb2 as pb

from tests.conftest import StartService
from tests.support.scenes import camera, fault
from tests.support.service import Service
from tests.support.timing import timing
from tests.support.waiting import finished

GRPCURL = Path(sys.executable).with_name("grpcurl")
ENDS_S = 60.0

RPCS = ("ListCameras", "GetCamera", "Capture", "SetControls", "ResetCamera", "LiveView")


@dataclass(frozen=True)
class Said:
    """What grpcurl said. Its exit code for an error of gRPC is 64 and the code's number."""

    code: int
    out: str
    err: str


async def grpcurl(service: Service, *arguments: str, flags: tuple[str, ...] = ()) -> Said:
    process = await asyncio.create_subprocess_exec(
        *(str(GRPCURL), "-plaintext", *flags, service.address, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Said(*await finished(process, within_s=ENDS_S))


def asking(camera_id: str) -> tuple[str, ...]:
    return ("-d", json.dumps({"camera": camera_id}))


async def test_list_and_describe_show_the_contract(start_service: StartService) -> None:
    service = await start_service(camera())
    listed = await grpcurl(service, "list")
    assert {"camapi.v1.CameraService", "grpc.health.v1.Health"} <= set(listed.out.split())
    described = await grpcurl(service, "describe", "camapi.v1.CameraService")
    for rpc in RPCS:
        assert f"rpc {rpc} " in described.out
    request = await grpcurl(service, "describe", "camapi.v1.CaptureRequest")
    assert "string camera = 1;" in request.out
    assert (listed.code, described.code, request.code) == (0, 0, 0)


async def test_capture_delivers_a_picture_within_max_time(start_service: StartService) -> None:
    service = await start_service(camera())
    said = await grpcurl(
        service,
        "camapi.v1.CameraService/Capture",
        flags=(*asking("sim0"), "-max-time", "10"),
    )
    assert (said.code, said.err) == (0, "")
    answer = json.loads(said.out)
    assert answer["capture"]["state"] == "STATE_SUCCEEDED"
    picture = np.frombuffer(base64.b64decode(answer["image_data"]), np.uint8)
    pixels = cv2.imdecode(picture, cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape[:2] == (240, 320)


@pytest.mark.timed
async def test_max_time_ends_a_capture_that_hangs(start_service: StartService) -> None:
    service = await start_service(camera(faults=[fault("hang_gil")]))
    with timing() as took:
        said = await grpcurl(
            service, "camapi.v1.CameraService/Capture", flags=(*asking("sim0"), "-max-time", "1")
        )
        assert said.code == 64 + 4
        assert "DeadlineExceeded" in said.err
    took.assert_within(2)


async def test_health_is_told(start_service: StartService) -> None:
    service = await start_service(camera())
    for name in ("", "camera/sim0"):
        request = json.dumps({"service": name})
        said = await grpcurl(service, "grpc.health.v1.Health/Check", flags=("-d", request))
        assert (said.code, json.loads(said.out)) == (0, {"status": "SERVING"})


async def test_a_busy_camera_says_who_holds_it_and_when_to_come_back(
    start_service: StartService,
) -> None:
    service = await start_service(camera(capture_duration_s=2.0))
    holder = asyncio.create_task(service.capture())
    await service.wait_for_state(pb.Camera.STATE_CAPTURING)
    said = await grpcurl(service, "camapi.v1.CameraService/Capture", flags=asking("sim0"))
    assert said.code == 64 + 8
    for words in (
        "Code: ResourceExhausted",
        "camera 'sim0' is busy with capture",
        '"reason":"CAMERA_BUSY"',
        '"holder_capture_id":',
        '"retry_delay":"',
    ):
        assert words in said.err
    await holder


@pytest.mark.parametrize(
    ("camera_id", "code", "words"),
    [
        ("cam9", 64 + 5, ("NotFound", "'cam9'", "configured are: sim0", "CAMERA_NOT_FOUND")),
        ("Cam 9", 64 + 3, ("InvalidArgument", "'Cam 9'", "lower-case", '"field"')),
    ],
)
async def test_a_wrong_camera_is_told_readably(
    start_service: StartService, camera_id: str, code: int, words: tuple[str, ...]
) -> None:
    service = await start_service(camera())
    said = await grpcurl(service, "camapi.v1.CameraService/GetCamera", flags=asking(camera_id))
    assert said.code == code
    for word in words:
        assert word in said.err
