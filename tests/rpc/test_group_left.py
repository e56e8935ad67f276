"""A group that is malformed, or that its client leaves: nothing is lost, and no camera is stuck.

The tests share a service, in which three cameras are plain; each test brings a slower one.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.support.events import Event, EventReader, steps
from tests.support.groups import PLAIN, SETTINGS, assert_taken, group, taken_together, wanted
from tests.support.history import QUICK, exposures, listed, refusal
from tests.support.live import Status, Watcher
from tests.support.scenes import camera
from tests.support.service import Service
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Capture = pb.Capture

SLOWER = camera("slow-to-be-ready", prepare_duration_s=1.0, **QUICK) + camera(
    "slow-to-be-taken", **{**QUICK, "capture_duration_s": 2.5}
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with Service(tmp_path_factory.mktemp("service"), SETTINGS + SLOWER) as service:
        yield service


BAD: dict[str, tuple[list[api.CaptureRequest], str, str]] = {
    "none": ([], "requests", "from 1 on"),
    "twice": (wanted(["sim0", "sim1", "sim0"]), "requests[2].camera", "one request per camera"),
    "no camera": (wanted(["sim0", ""]), "requests[1].camera", "a lower-case letter"),
    "id": (
        [*wanted(PLAIN), api.CaptureRequest(camera="x", request_id="42")],
        "requests[3].request_id",
        "UUID",
    ),
    "label": (wanted(["sim0"], labels={"../x": ""}), "requests[0].labels", "'../x'"),
    "size": (
        wanted(["sim1"], image=pb.ImageOptions(max_width_px=0)),
        "requests[0].image.max_width_px",
        "from 1 to 65535",
    ),
    "policy": (wanted(["sim1"], busy_policy=9), "requests[0].busy_policy", "BUSY_POLICY_WAIT"),
}


async def test_a_malformed_member_presses_no_shutter(service: Service) -> None:
    before = await listed(service)
    for requests, field, word in BAD.values():
        info = await refusal(group(service, requests))
        assert (info.code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert [violation.field for violation in info.field_violations] == [field]
        assert word in info.message
    assert await listed(service) == before


async def test_a_group_left_before_the_trigger_presses_no_shutter(service: Service) -> None:
    """Three are ready and wait for the fourth. Their live view goes on at once, and so do they."""
    cameras = [*PLAIN, "slow-to-be-ready"]
    counts = {name: exposures((await service.capture(name)).capture) for name in cameras}
    workers = {process.pid for process in service.workers()}
    async with Watcher(service) as watcher, EventReader(service) as reader:
        await watcher.until_frames()
        call = asyncio.create_task(group(service, wanted(cameras, ids="a")))
        await reader.until_type(Event.TYPE_STARTED, 3)
        await watcher.until_state(Status.STATE_PAUSED)
        call.cancel()
        await watcher.until_frames(3, within_s=1.0)
        await reader.until_type(Event.TYPE_CANCELLED, 4)
    assert sorted(steps(reader.events)) == ["CANCELLED"] * 4 + ["STARTED"] * 3
    left = await listed(service, states=[Capture.STATE_CANCELLED])
    assert len(left) == 4
    assert all("its client left" in capture.error.message for capture in left)
    for name in cameras:
        await service.wait_for_state(pb.Camera.STATE_READY, name)
    again = await taken_together(service, wanted(cameras, ids="a"), 0.5)
    await assert_taken(service, again.results)
    assert not any(result.replayed for result in again.results)
    for result in again.results:
        assert exposures(result.capture) == counts[result.camera] + 1
    assert {process.pid for process in service.workers()} == workers


@pytest.mark.parametrize("by", ["cancelling", "deadline"])
async def test_a_group_left_after_the_trigger_is_kept(service: Service, by: str) -> None:
    """Asked for again, it is the same pictures."""
    cameras = [*PLAIN, "slow-to-be-taken"]
    counts = {name: exposures((await service.capture(name)).capture) for name in cameras}
    if by == "deadline":
        info = await refusal(group(service, wanted(cameras, ids=by), timeout=1.5))
        assert info.code is grpc.StatusCode.DEADLINE_EXCEEDED
    else:
        call = asyncio.create_task(group(service, wanted(cameras, ids=by, labels={"by": by})))

        async def three_are_taken() -> bool:
            taken = await listed(service, labels={"by": by}, states=[Capture.STATE_SUCCEEDED])
            return len(taken) == 3

        await until(three_are_taken, "only the slow one is still under way")
        call.cancel()
    labels = {} if by == "deadline" else {"by": by}
    again = await group(service, wanted(cameras, ids=by, labels=labels))
    await assert_taken(service, again.results)
    assert all(result.replayed for result in again.results)
    assert not again.HasField("acquisition_skew")
    for result in again.results:
        assert exposures(result.capture) == counts[result.camera] + 1
