"""A scan with both cameras of a Pi, nobody at hand, whose one camera's ISP gets stuck on the way.

The scan in full, of 144 points: ENDURANCE=full.
"""

from collections.abc import Sequence

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.conftest import StartService
from tests.rigs.picamera2.rig import Fault, RigCamera
from tests.support import endurance
from tests.support.timing import Timings

pytestmark = [pytest.mark.rig, pytest.mark.timed, pytest.mark.timeout(endurance.TIMEOUT_S)]

POINTS = endurance.times(144)
STUCK = 70 if POINTS >= 144 else 7
CAMERAS = ("left", "right")
FOCUS = 8.2

FRAME_TIMEOUT_S = 3.0
"""The driver's default: how soon it notices."""
RESTART_S = 0.5 + 0.3
SLACK_S = 1.0
"""For two pictures, and stopping and starting the camera. A point takes 0.1 s otherwise."""


async def test_a_scan_with_a_stuck_isp_completes_unattended(
    start_service: StartService, pi_cameras: Sequence[RigCamera]
) -> None:
    """The pause at its point is bounded, and there is none at another."""
    controls = {"focus_distance_diopters": FOCUS}
    settings = [
        camera.settings(name, controls=controls, open_at_start=True)
        for camera, name in zip(pi_cameras, CAMERAS, strict=True)
    ]
    service = await start_service("".join(settings))
    for name in CAMERAS:
        await service.wait_for_state(pb.Camera.STATE_READY, name)
    workers = {worker.pid for worker in service.workers()}
    took, attempts, pictures = Timings(), {}, []
    for point in range(1, POINTS + 1):
        if point == STUCK:
            pi_cameras[0].fault(Fault.STUCK)
        requests = [
            api.CaptureRequest(camera=name, delivery=api.CaptureRequest.DELIVERY_REFERENCE)
            for name in CAMERAS
        ]
        with took.one():
            answer = await service.stub.CaptureGroup(api.CaptureGroupRequest(requests=requests))
        taken = [result.capture for result in answer.results]
        assert [c.state for c in taken] == [pb.Capture.STATE_SUCCEEDED] * 2, f"point {point}"
        attempts[point] = [capture.attempts for capture in taken]
        pictures += taken

    stuck = took.all.pop(STUCK - 1)
    print(f"points: {took}; point {STUCK}: {stuck}")
    assert attempts.pop(STUCK) == [2, 1], "the other camera's picture was kept"
    assert all(each == [1, 1] for each in attempts.values())
    assert stuck.s > FRAME_TIMEOUT_S
    stuck.assert_within(FRAME_TIMEOUT_S + RESTART_S + SLACK_S)
    took.assert_within(SLACK_S, percent=50)
    took.assert_within(FRAME_TIMEOUT_S)  # no other point waits for a time-out to pass
    for picture in pictures:
        told = {c.name: c.value.double_value for c in picture.controls}
        assert told["focus_distance_diopters"] == pytest.approx(FOCUS, abs=0.01)
    assert len({picture.capture_id for picture in pictures}) == 2 * POINTS
    assert workers <= {worker.pid for worker in service.workers()}, "no worker was replaced"
