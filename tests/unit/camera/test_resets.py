"""Resets of one camera are joined and spaced, so that others' captures get through."""

import asyncio
from collections.abc import Iterator

import pytest

from camsvc.camera.capture import CaptureResult, Order
from camsvc.model.errors import CameraFaulted, RateLimited
from camsvc.model.lifecycle import State
from camsvc.model.values import Shot
from tests.support.fakeworkers import COMMAND_S, OPTIONS, SLOW_S, WELL, Rig

CALLERS = 20


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.run(rig.camera.capture(Order(Shot())))
    rig.shots = 0
    yield rig
    rig.close()


async def again_and_again(rig: Rig) -> None:
    while True:
        try:
            await rig.camera.reset()
        except RateLimited as error:
            await asyncio.sleep(error.retry_after_s or 0)


async def captured(rig: Rig, count: int) -> list[CaptureResult]:
    return [await rig.camera.capture(Order(Shot(), wait=True)) for _ in range(count)]


def test_captures_get_through_while_twenty_callers_reset_in_a_loop(rig: Rig) -> None:
    resets = [rig.loop.create_task(again_and_again(rig)) for _ in range(CALLERS)]
    rig.wait(COMMAND_S / 2)
    begun, workers = rig.loop.time(), len(rig.workers)
    results = rig.run(captured(rig, 50))
    assert max(result.record.attempts for result in results) == 2
    took_s = rig.loop.time() - begun
    assert took_s <= 2 * 50 * COMMAND_S, "they have half of the camera's time"
    assert len(rig.workers) - workers <= took_s + 1
    for task in resets:
        task.cancel()
    rig.run(asyncio.wait(resets, timeout=60))


def test_one_reset_answers_all_who_wait_for_it(rig: Rig) -> None:
    for pause_s in (0.0, 0.05, 0.3):
        before = len(rig.workers)
        calls = [rig.begin(rig.camera.reset(), OPTIONS.open_timeout_s) for _ in range(3)]
        rig.wait(5 * SLOW_S)
        assert [call.task.exception() for call in calls] == [None] * 3
        assert len(rig.workers) == before + 1
        rig.wait(pause_s)


def test_after_a_long_one_the_next_is_told_when_to_come(rig: Rig) -> None:
    rig.script = ["slow"]
    rig.run(rig.camera.reset())
    rig.wait(1)
    with pytest.raises(RateLimited, match=r"camera 'cam' was reset a moment ago") as refusal:
        rig.run(rig.camera.reset())
    assert refusal.value.metadata["camera"] == "cam"
    rig.wait(refusal.value.retry_after_s or 0)
    rig.run(rig.camera.reset())


def test_a_camera_that_could_not_be_opened_may_be_reset_at_once(rig: Rig) -> None:
    rig.script = ["slow", WELL, "fault"]
    rig.run(rig.camera.reset())
    rig.wait(60)
    rig.script = ["fault"]
    with pytest.raises(CameraFaulted):
        rig.run(rig.camera.reset())
    rig.run(rig.camera.reset())
    assert rig.view.state is State.READY


def test_who_leaves_does_not_end_the_reset_for_others(rig: Rig) -> None:
    first = rig.begin(rig.camera.reset(), 10)
    second = rig.begin(rig.camera.reset(), 10)
    first.leave()
    rig.wait(1)
    assert second.task.exception() is None
    assert len(rig.workers) == 2
