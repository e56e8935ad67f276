"""A place in the queue is kept for whoever can still be served, and for nobody else.

The tests share a service; each has a camera of its own there.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.support.history import QUICK, WAIT, exposures, listed, refusal
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.timing import Timing, timing
from tests.support.waiters import Call, held, queued, waits

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b"
SHOT_S = 0.4
LIMIT = 16


def slow_at_second(name: str, seconds: float, **keys: Any) -> str:
    """Return a camera whose second capture takes long, against all that is known of it."""
    slow = {**fault("slow", at=2), "seconds": seconds}
    return camera(name, **{**QUICK, "faults": [slow], **keys})


SETTINGS = (
    slow_at_second("many", 1.5)
    + slow_at_second("left", 1.5, queue_limit=2)
    + slow_at_second("late", 4.0, capture_duration_s=SHOT_S)
    + slow_at_second("joined", 3.0, capture_duration_s=SHOT_S)
    + slow_at_second("controls", 1.0, queue_limit=1)
    + slow_at_second("reset", 5.0)
    + camera("spoilt", faults=[{**fault("slow"), "seconds": 1.0}], **QUICK)
    + camera(
        "broken",
        faults=[{**fault("slow", at=2), "seconds": 1.0}, fault("permanent", at=3)],
        **QUICK,
    )
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with Service(tmp_path_factory.mktemp("service"), SETTINGS) as service:
        yield service


async def held_long(service: Service, name: str) -> Call:
    """Take a picture, and begin the one that takes long."""
    await service.capture(name)
    return await held(service, name)


async def shot_duration_s(service: Service, name: str) -> float:
    """Take a picture, and return how long that took: on a busy machine it may be long."""
    capture = (await service.capture(name)).capture
    return capture.timing.driver.ToNanoseconds() / 1e9


async def shots(*calls: Call) -> list[int]:
    """Return which exposures of their camera became these pictures."""
    return [exposures((await call).capture) for call in calls]


async def test_sixteen_may_wait_unless_the_settings_say_otherwise(service: Service) -> None:
    holder = await held_long(service, "many")
    calls = [await waits(service, count, "many") for count in range(1, LIMIT + 1)]
    info = await refusal(service.capture("many", busy_policy=WAIT))
    assert (info.code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert info.metadata["limit"] == str(LIMIT)
    assert info.retry_delay_s
    assert await shots(holder, *calls) == list(range(2, LIMIT + 3)), "first come, first served"


async def test_a_waiter_that_leaves_makes_room_at_once(service: Service) -> None:
    holder = await held_long(service, "left")
    leaver, other = await waits(service, 1, "left"), await waits(service, 2, "left")
    assert (await refusal(service.capture("left", busy_policy=WAIT))).reason == "QUEUE_FULL"
    leaver.cancel()
    await queued(service, 1, "left")
    late = await waits(service, 2, "left")
    assert not holder.done()
    assert await shots(holder, other, late) == [2, 3, 4], "none was taken for the one that left"
    states = [capture.state for capture in await listed(service, camera="left")]
    assert states.count(pb.Capture.STATE_CANCELLED) == 1
    assert states.count(pb.Capture.STATE_SUCCEEDED) == 4
    counted = (await service.camera("left")).camera.statistics
    assert (counted.captures_succeeded, counted.captures_failed) == (4, 0)
    assert counted.consecutive_failures == 0


@pytest.mark.timed
async def test_a_waiter_is_told_as_soon_as_its_deadline_cannot_be_met_any_more(
    service: Service,
) -> None:
    """When it came, the holder should have been through long before."""
    shot_s = await shot_duration_s(service, "late")
    holder = await held(service, "late")

    async def told(count: int, timeout: float) -> Timing:
        call = await waits(service, count, "late", timeout=timeout, labels={"n": str(count)})
        with timing() as took:
            info = await refusal(call)
        assert (info.code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CAMERA_BUSY")
        assert "the deadline can no longer be met" in info.message
        assert info.metadata["holder_expected_end_time"]
        (capture,) = await listed(service, camera="late", labels={"n": str(count)})
        assert info.metadata["capture_id"] == capture.capture_id
        assert capture.state == pb.Capture.STATE_CANCELLED
        assert capture.error.message == info.message
        return took

    bound_s = 2 * shot_s + 1.5
    first = asyncio.create_task(told(1, bound_s))
    await queued(service, 1, "late")
    second = await told(2, bound_s + shot_s / 2)
    assert not first.done(), "the one behind is told before"
    (await first).assert_within(bound_s - shot_s / 2)  # its own shot takes that long
    assert not holder.done()
    assert second.s > 0.2
    assert await shots(holder) == [2]
    assert exposures((await service.capture("late")).capture) == 3


async def test_one_slow_shot_does_not_turn_away_who_can_be_served(service: Service) -> None:
    """Its like would not be over in time, but nobody knows that the next is like it."""
    await service.capture("spoilt")
    for _ in range(2):
        await service.capture("spoilt")
    calls = [service.capture("spoilt", busy_policy=WAIT, timeout=1.5) for _ in range(5)]
    responses = await asyncio.gather(*calls)
    assert sorted(exposures(response.capture) for response in responses) == [4, 5, 6, 7, 8]


async def test_whoever_joins_a_waiter_with_more_time_keeps_it_waiting(service: Service) -> None:
    """The first one's deadline passes, as it said; the second one gets the picture."""
    shot_s = await shot_duration_s(service, "joined")
    holder = await held(service, "joined")
    first = await waits(service, 1, "joined", request_id=ID, timeout=2 * shot_s + 1)
    second = asyncio.create_task(service.capture("joined", request_id=ID))
    info = await refusal(first)
    assert info.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await shots(holder, second) == [2, 3]
    assert await listed(service, camera="joined", states=[pb.Capture.STATE_CANCELLED]) == []


async def test_control_calls_take_nobodys_place(service: Service) -> None:
    holder = await held_long(service, "controls")
    request = api.ListControlsRequest(camera="controls")

    async def controls() -> api.ListControlsResponse:
        return await service.stub.ListControls(request, timeout=30)

    listings = [asyncio.create_task(controls()) for _ in range(3)]
    waiter = await waits(service, 1, "controls")
    assert (await refusal(service.capture("controls", busy_policy=WAIT))).reason == "QUEUE_FULL"
    await asyncio.gather(*listings)
    assert await shots(holder, waiter) == [2, 3]


@pytest.mark.timed
async def test_those_who_wait_for_a_camera_that_fails_for_good_are_told_so_at_once(
    service: Service,
) -> None:
    holder = await held_long(service, "broken")
    calls = [await waits(service, count, "broken") for count in (1, 2, 3)]
    await holder
    with timing() as took:
        for call in calls:
            info = await refusal(call)
            assert (info.code, info.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "CAMERA_FAULTED",
            )
    took.assert_within(1.0)
    failed = await listed(service, camera="broken", states=[pb.Capture.STATE_FAILED])
    assert len(failed) == 3


async def test_a_reset_ends_the_attempt_and_not_the_queue(service: Service) -> None:
    holder = await held_long(service, "reset")
    waiter = await waits(service, 1, "reset")
    await service.stub.ResetCamera(api.ResetCameraRequest(camera="reset"), timeout=CALL_S)
    responses = await asyncio.gather(holder, waiter)
    assert [response.capture.attempts for response in responses] == [2, 1]
    first, second = await shots(holder, waiter)
    assert second == first + 1


async def test_who_waits_when_the_service_stops_is_cancelled(tmp_path: Path) -> None:
    settings = f"grace_s = 0.2\n{slow_at_second('sim0', 5.0)}"
    async with Service(tmp_path, settings) as service:
        calls = [await held_long(service, "sim0"), await waits(service, 1)]
        await service.stop()
        for call in calls:
            assert (await refusal(call)).code is grpc.StatusCode.UNAVAILABLE
    async with Service(tmp_path, settings) as service:
        waiter, holder, first = await listed(service)
    assert first.state == pb.Capture.STATE_SUCCEEDED
    for capture in (waiter, holder):
        assert capture.state == pb.Capture.STATE_CANCELLED
        assert "service" in capture.error.message
