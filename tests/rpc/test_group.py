"""Several cameras take a picture at once, and what one of them does is no matter to the others.

The tests share a service, in which three cameras are plain; each test brings its own special one.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from google.rpc import code_pb2

from tests.support.events import EventReader
from tests.support.groups import (
    PLAIN,
    SETTINGS,
    acquired_s,
    assert_taken,
    assert_together,
    group,
    reason,
    skew_s,
    taken_together,
    wanted,
)
from tests.support.history import QUICK, WAIT, download, exposures, listed
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiters import held

pytestmark = pytest.mark.asyncio(loop_scope="module")

SKEW_S = 0.1
"""The figure is 5 ms, for a benchmark; this is for a machine that does other things beside."""
TOGETHER_S = 0.5
"""While a worker is started beside, on few cores; alone, each would be as late as its own bound."""
ATTEMPT_S, AWAY_S = 1.0, 6.0
QUICKLY_S = 5.0
"""Much less than the time-outs, also where the machine has other things to do."""
STEPS = ("open", "prepare", "capture")
LATE = {"ready-at-once": 0.0, "ready-soon": 0.2, "ready-late": 0.5}
"""Cameras, and the seconds that they take to be made ready."""

SPECIAL = [
    *(camera(name, prepare_duration_s=seconds, **QUICK) for name, seconds in LATE.items()),
    *(camera(f"breaks-in-{on}", faults=[fault("permanent", on)], **QUICK) for on in STEPS),
    *(
        camera(
            f"hangs-in-{on}", faults=[fault("hang", on, at=2)], attempt_timeout_s=ATTEMPT_S, **QUICK
        )
        for on in STEPS[1:]
    ),
    camera(
        "away", faults=[fault("error", "open", times=0)], open_timeout_s=AWAY_S, attempts=1, **QUICK
    ),
    camera("slow", faults=[{**fault("slow", at=2), "seconds": 1.5}], **QUICK),
    camera("fails-once", faults=[fault("error")], attempts=1, **QUICK),
    camera(
        "worst",
        faults=[{**fault("slow"), "seconds": 25.0}],
        attempt_timeout_s=CALL_S,
        **QUICK,
    ),
    camera("joined", **{**QUICK, "capture_duration_s": 0.5}),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    async with Service(folder, SETTINGS + "".join(SPECIAL)) as service:
        for name in PLAIN:
            await service.capture(name)
        yield service


async def test_all_pictures_are_taken_at_one_instant(service: Service) -> None:
    response = await taken_together(service, wanted(PLAIN, labels={"scan": "a"}), SKEW_S)
    await assert_taken(service, response.results)
    times = acquired_s(response.results)
    assert skew_s(response) == pytest.approx(times[-1] - times[0], abs=1e-6)
    assert len(await listed(service, labels={"scan": "a"})) == len(PLAIN)
    assert not any(result.replayed for result in response.results)
    alone = await group(service, wanted(PLAIN[:1]))
    await assert_taken(service, alone.results)
    assert not alone.HasField("acquisition_skew")


async def test_who_needs_longer_to_be_ready_is_waited_for(service: Service) -> None:
    for _ in range(2):  # the first time, they have to be opened, too
        response = await taken_together(service, wanted(LATE), SKEW_S)
        await assert_taken(service, response.results)
    assert [exposures(result.capture) for result in response.results] == [2] * len(LATE)


async def test_pictures_can_be_fetched_before_the_worst_camera_has_ended(service: Service) -> None:
    """Events tell them, and the history has them, while the call still lasts."""
    async with EventReader(service) as reader:
        requests = wanted([*PLAIN, "worst"], labels={"scan": "b"})
        call = asyncio.create_task(group(service, requests))
        kept = pb.CaptureEvent.TYPE_SUCCEEDED
        events = await reader.until_type(kept, len(PLAIN))
        told = {event.capture_id: event.camera for event in events if event.type == kept}
        assert set(told.values()) == set(PLAIN)
        found = await listed(service, labels={"scan": "b"}, states=[pb.Capture.STATE_SUCCEEDED])
        assert {capture.capture_id for capture in found} == set(told)
        for capture in found:
            assert (await download(service, capture.capture_id)).sha256 == capture.image.sha256
        assert not call.done()
        call.cancel()
        await asyncio.wait([call])


@pytest.mark.timed
@pytest.mark.parametrize("on", STEPS)
async def test_a_camera_that_fails_for_good_does_not_hold_the_others_up(
    service: Service, on: str
) -> None:
    for _ in range(2):  # in the midst, and when that is known
        with timing() as took:
            response = await group(service, wanted([*PLAIN, f"breaks-in-{on}"]))
        took.assert_within(QUICKLY_S)
        *others, failed = response.results
        await assert_taken(service, others)
        assert_together(response, TOGETHER_S, took)
        assert failed.error.code == code_pb2.FAILED_PRECONDITION
        assert reason(failed.error) == "CAMERA_FAULTED"


async def test_a_camera_that_cannot_be_opened_now_is_not_waited_for(service: Service) -> None:
    """Its own part lasts for its open time-out; the others' pictures are taken long before."""
    started = time.time()
    with timing() as took:
        response = await group(service, wanted([*PLAIN, "away"]))
    *others, away = response.results
    await assert_taken(service, others)
    assert acquired_s(others)[-1] - started - took.waited_s < QUICKLY_S
    assert_together(response, TOGETHER_S, took)
    assert reason(away.error) == "CAMERA_UNAVAILABLE"


@pytest.mark.timed
@pytest.mark.parametrize("on", STEPS[1:])
async def test_a_camera_that_hangs_once_is_taken_later(service: Service, on: str) -> None:
    """Where it hangs before the trigger, the others wait for that attempt; and all are taken."""
    cameras = [*PLAIN, f"hangs-in-{on}"]
    await group(service, wanted(cameras))
    started = time.time()
    with timing() as took:
        response = await group(service, wanted(cameras))
    await assert_taken(service, response.results)
    *others, late = response.results
    assert acquired_s(others)[-1] - acquired_s(others)[0] - took.waited_s < TOGETHER_S
    waited_s = acquired_s(others)[0] - started
    assert (waited_s > ATTEMPT_S) == (on == "prepare")
    assert waited_s - took.waited_s < QUICKLY_S
    assert late.capture.attempts == 2
    assert [result.capture.attempts for result in others] == [1, 1, 1]


async def test_busy_and_unknown_cameras_are_errors_of_their_own(service: Service) -> None:
    await group(service, wanted(["slow"]))
    holder = await held(service, "slow")
    asked = wanted(["sim0", "nobody", "sim1", "slow"])
    response = await taken_together(service, asked, TOGETHER_S)
    assert not holder.done(), "at once"
    zero, unknown, one, busy = response.results
    await assert_taken(service, [zero, one])
    assert reason(unknown.error) == "CAMERA_NOT_FOUND"
    assert "nobody" in unknown.error.message
    assert reason(busy.error) == "CAMERA_BUSY"
    asked = wanted([*PLAIN, "slow"], busy_policy=WAIT)
    waited = await taken_together(service, asked, TOGETHER_S)  # all wait for the busy one
    assert holder.done()
    await assert_taken(service, waited.results)


async def test_a_repeated_group_presses_no_shutter_but_for_what_failed(service: Service) -> None:
    asked = wanted([*PLAIN, "fails-once"], ids="a")
    first = await group(service, asked)
    await assert_taken(service, first.results[:3])
    assert reason(first.results[3].error) == "CAMERA_UNAVAILABLE"
    second = await group(service, asked)
    await assert_taken(service, second.results)
    assert [result.replayed for result in second.results] == [True] * 3 + [False]
    assert [r.capture for r in second.results[:3]] == [r.capture for r in first.results[:3]]
    assert not second.HasField("acquisition_skew"), "one picture was taken by this call"
    third = await group(service, asked)
    assert all(result.replayed for result in third.results)
    single = await service.capture("sim0", request_id=asked[0].request_id)
    assert single.replayed
    assert single.capture == first.results[0].capture
    reused = await group(service, wanted([*PLAIN, "fails-once"], ids="a", labels={"n": "1"}))
    assert {reason(result.error) for result in reused.results} == {"REQUEST_ID_REUSED"}
    for result in second.results:
        again = (await service.capture(result.camera)).capture
        assert exposures(again) == exposures(result.capture) + 1


async def test_groups_of_the_same_cameras_do_not_wait_for_each_other_for_ever(
    service: Service,
) -> None:
    orders = (PLAIN, PLAIN[::-1], PLAIN[1:], PLAIN[1::-1])
    calls = [group(service, wanted(order, busy_policy=WAIT)) for order in orders for _ in range(3)]
    with timing() as took:
        responses = await asyncio.gather(*calls)
    for response in responses:
        await assert_taken(service, response.results)
        assert_together(response, TOGETHER_S, took)


async def test_groups_and_single_captures_go_together(service: Service) -> None:
    async def singles(name: str) -> list[pb.Capture]:
        return [(await service.capture(name, busy_policy=WAIT)).capture for _ in range(10)]

    before = {r.camera: exposures(r.capture) for r in (await group(service, wanted(PLAIN))).results}
    alone = [asyncio.create_task(singles(name)) for name in PLAIN]
    groups = [await group(service, wanted(PLAIN, busy_policy=WAIT)) for _ in range(5)]
    captures = [capture for task in alone for capture in await task]
    for response in groups:
        await assert_taken(service, response.results)
        captures += [result.capture for result in response.results]
    for name in PLAIN:
        taken = sorted(exposures(capture) for capture in captures if capture.camera == name)
        assert taken == list(range(before[name] + 1, before[name] + 16))


async def test_a_joined_shot_is_the_other_calls(service: Service) -> None:
    asked = wanted([*PLAIN, "joined"], ids="b")
    single = await held(service, "joined", request_id=asked[3].request_id)
    response = await group(service, asked)
    await assert_taken(service, response.results)
    assert [result.replayed for result in response.results] == [False] * 3 + [True]
    assert response.results[3].capture == (await single).capture
