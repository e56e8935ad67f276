"""Whatever the camera does, its viewers' stream lives: told at once, then shown what is new."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.conftest import StartService
from tests.rpc.test_hot_plug import Plug
from tests.support import plugins
from tests.support.live import Status, Watcher, assert_numbers_rise, gaps_s, number_in
from tests.support.pictures import number
from tests.support.scenes import Table, camera, fault
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import until

AT = 15
STALL_S = 0.8
BAD_RUN_S = 1.0
"""What four bad frames in a row cost, as the pause after each grows."""
SLACK_S = 0.5
NOTICED_S = 1.0
"""Promised, beside the stall time-out, however often stills are taken."""
FOR_EVER = 0

SILENT = ("hang", "hang_gil", "slow")

LASTING: dict[str, list[Table]] = {
    **{kind: [fault(kind, "read", AT)] for kind in (*SILENT, "crash", "exit")},
    "error": [fault("error", "read", AT, times=6)],
    "corrupt": [fault("corrupt", "read", AT, times=6)],
    "disconnect": [fault("disconnect", "read", AT)],
}
"""What no viewer can be spared of; the camera is back by itself."""


def struck(*faults: Table, **keys: Any) -> str:
    silent = any(fault["kind"] in SILENT for fault in faults)
    stall_s = STALL_S if silent else 2 * BAD_RUN_S
    return camera(faults=faults, **{"stall_timeout_s": stall_s, "attempt_timeout_s": 1.0, **keys})


async def rungs(service: Service) -> list[str]:
    recoveries = (await service.camera()).camera.statistics.recoveries
    return [pb.RecoveryStatistics.Rung.Name(r.rung) for r in recoveries if r.count]


@pytest.mark.timed
@pytest.mark.parametrize("kind", LASTING)
async def test_viewers_are_told_that_it_recovers_and_then_see_it_again(
    start_service: StartService, kind: str
) -> None:
    service = await start_service(struck(*LASTING[kind]))
    async with Watcher(service) as watcher, Watcher(service, max_fps=5) as other:
        await watcher.until_state(Status.STATE_RECOVERING)
        last = watcher.frames[-1]
        told = next(m for m in watcher.messages if m.status and m.status.HasField("error"))
        await watcher.until_frames(20, within_s=15)
        await other.until_frames(2)
    assert told.status is not None
    assert told.status.last_frame_time == last.acquisition_time
    noticed_s = (told.at_ns - last.acquisition_time.ToNanoseconds()) / 1e9
    waited_s = watcher.waited_before_s(told)
    back = next(m for m in watcher.messages if m.frame and m.frame.sequence > last.sequence)
    print(f"{kind}: noticed after {noticed_s:.2f} s, back {back.at - told.at:.2f} s later")
    assert noticed_s - waited_s < (STALL_S if kind in SILENT else BAD_RUN_S) + SLACK_S
    assert back.frame is not None
    back_ns = back.frame.acquisition_time.ToNanoseconds()
    assert back_ns > told.at_ns - waited_s * 1e9, "nothing old is shown as new"
    assert watcher.changes == other.changes == ["STARTING", "LIVE", "RECOVERING", "LIVE"]
    assert_numbers_rise(watcher.frames)
    shown = (await service.camera()).camera
    assert not shown.HasField("fault")
    assert shown.statistics.last_frame_time.ToNanoseconds() >= back_ns


@pytest.mark.timed
@pytest.mark.parametrize("every_s", [0.2, 0.5, 1.0, 3.0])
async def test_stills_do_not_hide_that_live_view_is_dead(
    start_service: StartService, tmp_path: Path, every_s: float
) -> None:
    """As in a scan with a viewer: each still is fine, and no frame comes."""
    plug = Plug(tmp_path)
    service = await start_service(
        camera(
            driver="plugins:DeafCamera",
            env=plugins.ENV,
            options={"plug": str(plug.path)},
            stall_timeout_s=STALL_S,
        )
    )

    async def scan() -> None:
        while True:
            await service.capture()
            await asyncio.sleep(every_s)

    async with Watcher(service) as watcher, asyncio.TaskGroup() as tasks:
        scanning = tasks.create_task(scan())
        await watcher.until_frames(AT)

        async def noticed() -> bool:
            return watcher.count(Status.STATE_RECOVERING) > 0

        assert not await noticed()
        with timing() as took:
            plug.pull()
            await until(noticed, "it is noticed", within_s=CALL_S)
        took.assert_within(STALL_S + NOTICED_S)
        plug.put_in()
        await watcher.until_frames(AT, within_s=CALL_S)
        assert not scanning.done(), "its pictures are taken all the while"
        scanning.cancel()


@pytest.mark.parametrize("kind", ["error", "corrupt", "stale"])
async def test_up_to_four_bad_frames_in_a_row_are_passed_over(
    start_service: StartService, kind: str
) -> None:
    bad = [fault(kind, "read", AT), fault(kind, "read", 2 * AT, times=4)]
    service = await start_service(struck(*bad))
    async with Watcher(service) as watcher:
        await watcher.until_frames(3 * AT)
    assert watcher.changes == ["STARTING", "LIVE"]
    assert await rungs(service) == []
    assert_numbers_rise(watcher.frames)


async def test_a_frame_that_is_repeated_for_ever_is_never_shown_twice(
    start_service: StartService,
) -> None:
    service = await start_service(struck(fault("stale", "read", AT, FOR_EVER)))
    async with Watcher(service) as watcher:
        status = await watcher.until_state(Status.STATE_RECOVERING)
        assert "repeats its last frame" in status.reason

        async def opened_anew() -> bool:
            return "RUNG_REOPEN" in await rungs(service)

        await until(opened_anew, "it was opened anew")
    assert_numbers_rise(watcher.frames)
    assert len(watcher.frames) < AT + 10, "one for each time it was opened anew"


async def test_a_permanent_fault_is_told_on_and_on_until_the_camera_is_reset(
    start_service: StartService,
) -> None:
    service = await start_service(struck(fault("permanent", "read", AT)))
    async with Watcher(service) as watcher:
        status = await watcher.until_state(Status.STATE_OFFLINE)
        assert status.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert "reset the camera" in status.error.message
        told = len(watcher.statuses)
        async with Watcher(service) as late:
            await late.until_state(Status.STATE_OFFLINE)

            async def repeated() -> bool:
                return len(watcher.statuses) >= told + 2

            await until(repeated, "two heartbeats")
            reset = await service.stub.ResetCamera(
                api.ResetCameraRequest(camera="sim0"), timeout=CALL_S
            )
            assert reset.camera.state == pb.Camera.STATE_READY
            await late.until_frames()
        await watcher.until_frames()
    assert watcher.changes == ["STARTING", "LIVE", "OFFLINE", "STARTING", "LIVE"]
    assert late.changes[-1] == "LIVE"
    assert_numbers_rise(watcher.frames)


@pytest.mark.parametrize("both", [False, True])
async def test_a_still_pauses_live_view_only_where_the_camera_cannot_do_both(
    start_service: StartService, both: bool
) -> None:
    stills = 8
    service = await start_service(camera(capture_during_live_view=both))
    async with Watcher(service) as watcher:
        await watcher.until_frames()
        for _ in range(stills):
            taken = await service.capture()
            frames = await watcher.until_frames(3)
            assert number_in(frames[-1]) > number(taken)
    assert watcher.count(Status.STATE_PAUSED) == (0 if both else stills)
    assert {s.reason for s in watcher.statuses if s.state == Status.STATE_PAUSED} <= {
        "a still is being taken"
    }
    assert_numbers_rise(watcher.frames)


async def test_the_rate_begins_afresh_after_a_still_and_the_count_goes_on(
    start_service: StartService,
) -> None:
    service = await start_service(camera())
    async with Watcher(service) as watcher:
        await watcher.until_frames(40)
        before = (await service.camera()).camera.statistics
        seen = watcher.frames[-1].sequence
        await service.capture()
        frames = await watcher.until_frames(10)
        after = (await service.camera()).camera.statistics
        frames += await watcher.until_frames(5)
    gaps = gaps_s(frames)
    assert before.frames >= 40
    assert before.frames + 10 <= after.frames <= before.frames + frames[-1].sequence - seen
    # As frames arrive, which on a busy machine may be several at once.
    assert after.fps >= 0.8 * len(gaps) / sum(gaps), "the pause does not count"


async def test_three_stills_in_quick_succession_leave_live_view_alive_30_times(
    start_service: StartService,
) -> None:
    service = await start_service(camera(capture_duration_s=0.01))
    async with Watcher(service) as watcher:
        await watcher.until_frames()
        for _ in range(30):
            taken = [number(await service.capture()) for _ in range(3)]
            frames = await watcher.until_frames(2)
            assert number_in(frames[-1]) > taken[-1] > taken[0]
    assert "RECOVERING" not in watcher.changes
    assert_numbers_rise(watcher.frames)
    assert await rungs(service) == []


async def test_100_stills_with_a_hang_and_a_crash_leave_one_stream_alive(
    start_service: StartService,
) -> None:
    faults = [fault("hang", at=3), fault("crash", at=50)]
    service = await start_service(struck(*faults, capture_duration_s=0.01))
    async with Watcher(service) as watcher:
        await watcher.until_frames()
        seen = 0
        for _ in range(100):
            taken = number(await service.capture())
            assert taken > seen
            seen = number_in((await watcher.until_frames())[-1])
    assert watcher.error is None or watcher.error.code() is grpc.StatusCode.CANCELLED
    assert watcher.count(Status.STATE_RECOVERING) == 2
    assert "OFFLINE" not in watcher.changes
    assert_numbers_rise(watcher.frames)
    statistics = (await service.camera()).camera.statistics
    assert (statistics.captures_succeeded, statistics.captures_failed) == (100, 0)
    assert await rungs(service) == ["RUNG_RESTART"]


async def test_a_still_that_lasts_is_no_stall(start_service: StartService) -> None:
    service = await start_service(camera(capture_duration_s=1.5, stall_timeout_s=0.5))
    async with Watcher(service) as watcher:
        await watcher.until_frames()
        await service.capture()
        await watcher.until_frames()
    assert watcher.changes == ["STARTING", "LIVE", "PAUSED", "LIVE"]
    assert await rungs(service) == []
