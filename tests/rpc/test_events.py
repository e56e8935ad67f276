"""Every step of every capture is told, in order, with what belongs to it.

The tests share a service; each has a camera of its own there.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo, error_info

from tests.support.events import Event, EventReader, steps
from tests.support.history import QUICK, WAIT, deleted, described, listed, refusal
from tests.support.metrics import metric
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.waiters import held, waits

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b"
REFUSALS = 400
LONG = [pb.ControlSetting(name="exposure_duration_us", value=pb.ControlValue(int_value=1_600_000))]

_SLOW_AT_FIRST = [{**fault("slow"), "seconds": 1.0}]
CAMERAS = {
    "plain": camera("plain", **QUICK),
    "queue": camera("queue", faults=_SLOW_AT_FIRST, **QUICK),
    "left": camera("left", faults=_SLOW_AT_FIRST, **QUICK),
    "retried": camera("retried", faults=[fault("error", times=2)], **QUICK),
    "failing": camera("failing", faults=[fault("error", times=0)], attempts=2, **QUICK),
    "busy": camera("busy", faults=_SLOW_AT_FIRST, queue_limit=0, **QUICK),
    "timed": camera("timed"),
    "telling": camera("telling", reports_progress=True),
    "away": camera("away", faults=[{**fault("disconnect", at=2), "seconds": 1.0}], **QUICK),
    "broken": camera("broken", faults=[fault("permanent")], **QUICK),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with Service(tmp_path_factory.mktemp("service"), "".join(CAMERAS.values())) as service:
        yield service


def assert_told(info: RpcErrorInfo, event: pb.CaptureEvent) -> None:
    """The event's error is the one that the client was told."""
    assert event.error.message == info.message
    assert event.error.code == info.code.value[0]


async def test_a_plain_capture_begins_and_succeeds(service: Service) -> None:
    async with EventReader(service, camera="plain") as reader:
        capture = (await service.capture("plain", request_id=ID, labels={"n": "1"})).capture
        events = await reader.until_ended()
    assert steps(events) == ["STARTED", "SUCCEEDED"]
    (place,) = reader.heartbeats
    assert reader.numbers == [place + 1, place + 2]
    for event in events:
        assert (event.camera, event.capture_id) == ("plain", capture.capture_id)
        assert event.request_id == ID
        assert not event.HasField("error")
    assert events[1].capture == capture
    assert not events[0].HasField("capture")
    times = [event.event_time.ToNanoseconds() for event in events]
    assert capture.create_time.ToNanoseconds() <= times[0] <= times[1]


async def test_replays_have_no_events_and_a_deleted_captures_events_stay(service: Service) -> None:
    async with EventReader(service, camera="plain") as reader:
        again = str(uuid.uuid4())
        captures = [(await service.capture("plain", request_id=again)).capture for _ in range(3)]
        captures.append((await service.capture("plain")).capture)
        await reader.until_ended(2)
    for capture in captures[2:]:
        await deleted(service, capture.capture_id)
    (place,) = reader.heartbeats
    async with EventReader(service, camera="plain", after_sequence=place) as later:
        await later.until_ended(2)
    assert steps(later.events) == ["STARTED", "SUCCEEDED"] * 2
    assert later.events == reader.events
    assert [event.capture for event in later.events[1::2]] == captures[2:]


async def test_who_waits_is_told_its_position_as_it_moves_up(service: Service) -> None:
    async with EventReader(service, camera="queue") as reader:
        calls = [await held(service, "queue")]
        calls += [await waits(service, count, "queue") for count in (1, 2, 3)]
        zero, one, two, three = [(await call).capture for call in calls]
        events = await reader.until_ended(4)
    assert steps(reader.of(zero.capture_id)) == ["STARTED", "SUCCEEDED"]
    assert steps(reader.of(one.capture_id)) == ["QUEUED 1", "STARTED", "SUCCEEDED"]
    assert steps(reader.of(two.capture_id)) == ["QUEUED 2", "QUEUED 1", "STARTED", "SUCCEEDED"]
    assert steps(reader.of(three.capture_id)) == [
        *("QUEUED 3", "QUEUED 2", "QUEUED 1", "STARTED", "SUCCEEDED")
    ]
    ends = [event.capture_id for event in events if event.type == Event.TYPE_SUCCEEDED]
    assert ends == [capture.capture_id for capture in (zero, one, two, three)]
    (place,) = reader.heartbeats
    assert reader.numbers == list(range(place + 1, place + len(events) + 1))
    assert zero.timing.queue.ToMilliseconds() < 100 < two.timing.queue.ToMilliseconds()


async def test_a_waiter_that_leaves_is_cancelled_and_the_others_move_up(service: Service) -> None:
    async with EventReader(service, camera="left") as reader:
        await held(service, "left")
        leaver = await waits(service, 1, "left", request_id=ID)
        other = await waits(service, 2, "left")
        leaver.cancel()
        events = await reader.until_type(Event.TYPE_CANCELLED)
        await reader.until_ended(3)
    cancelled = next(event for event in events if event.type == Event.TYPE_CANCELLED)
    assert cancelled.request_id == ID
    assert "its client left" in cancelled.error.message
    assert steps(reader.of(cancelled.capture_id)) == ["QUEUED 1", "CANCELLED"]
    assert cancelled.capture == await described(service, cancelled.capture_id)
    assert cancelled.capture.state == pb.Capture.STATE_CANCELLED
    assert cancelled.capture.error == cancelled.error
    story = steps(reader.of((await other).capture.capture_id))
    assert story == ["QUEUED 2", "QUEUED 1", "STARTED", "SUCCEEDED"]


async def test_a_failed_attempt_is_told_with_its_error_and_so_is_the_next(
    service: Service,
) -> None:
    async with EventReader(service, camera="retried") as reader:
        capture = (await service.capture("retried")).capture
        events = await reader.until_ended()
    assert (capture.attempts, capture.recoveries) == (3, 2)
    assert steps(events) == [
        *("STARTED", "RECOVERING", "RETRYING in attempt 2"),
        *("RECOVERING in attempt 2", "RETRYING in attempt 3", "SUCCEEDED in attempt 3"),
    ]
    for event, call in zip(events[1:5], (1, 1, 2, 2), strict=True):
        assert f"simulated error, at capture call {call}" in event.error.message
    assert events[-1].capture == capture


async def test_a_failure_is_told_with_the_error_of_the_call(service: Service) -> None:
    async with EventReader(service, camera="failing") as reader:
        info = await refusal(service.capture("failing", request_id=ID))
        *_, failed = await reader.until_ended()
    assert failed.type == Event.TYPE_FAILED
    assert (failed.attempt, failed.request_id) == (2, ID)
    assert_told(info, failed)
    (capture,) = await listed(service, camera="failing")
    assert failed.capture == capture
    assert failed.error == capture.error
    assert info.metadata["capture_id"] == failed.capture_id == capture.capture_id


async def test_a_refusal_is_told_and_is_no_capture(service: Service) -> None:
    async with EventReader(service, camera="busy") as reader:
        holder = await held(service, "busy")
        busy = await refusal(service.capture("busy", request_id=ID))
        full = await refusal(service.capture("busy", busy_policy=WAIT))
        await holder
        await reader.until_ended()
    refused = [event for event in reader.events if event.type == Event.TYPE_REJECTED]
    for info, event in zip((busy, full), refused, strict=True):
        assert_told(info, event)
        assert (event.camera, event.capture_id, event.attempt) == ("busy", "", 0)
    assert [event.request_id for event in refused] == [ID, ""]
    assert (busy.reason, full.reason) == ("CAMERA_BUSY", "QUEUE_FULL")
    assert len(await listed(service, camera="busy")) == 1


async def test_however_much_is_refused_the_history_stays(tmp_path: Path) -> None:
    """All of it is counted, in a few events, which are there also when the service has stopped."""
    settings = camera("broken", faults=[fault("permanent")], **QUICK)
    async with Service(tmp_path, settings) as service:
        await refusal(service.capture("broken"))  # which fails
        for _ in range(REFUSALS // 50):
            await asyncio.gather(*(refusal(service.capture("broken")) for _ in range(50)))
        info = await refusal(service.capture("broken", request_id=ID))
        counted = await metric(service, "camsvc_refusals_total", reason=str(info.reason))
    assert counted == REFUSALS + 1
    async with (
        Service(tmp_path, settings) as service,
        EventReader(service, after_sequence=0) as reader,
    ):
        events = await reader.until_type(Event.TYPE_REJECTED, 2)
    assert len(events) <= 5, steps(events)
    first, others = [event for event in events if event.type == Event.TYPE_REJECTED]
    assert (first.refused_count, others.refused_count) == (1, REFUSALS)
    assert others.request_id == ID, "as the last of them"
    assert not any(e.HasField("refused_count") for e in events if e not in (first, others))


async def test_progress_goes_by_time_where_the_driver_does_not_tell(service: Service) -> None:
    async with EventReader(service, camera="timed") as reader:
        await service.capture("timed")
        capture = (await service.capture("timed", controls=LONG)).capture
        await reader.until_ended(2)
    events = reader.of(capture.capture_id)
    told = [event.progress_percent for event in events if event.type == Event.TYPE_PROGRESS]
    assert 2 <= len(told) <= 4, "every half second"
    assert told == sorted(set(told))
    for percent, expected in zip(told, (30, 60, 90), strict=False):
        assert expected / 2 < percent < expected + 15, "against the exposure asked for"


async def test_progress_goes_by_what_the_driver_tells(service: Service) -> None:
    """It tells tenths; by the time that it was thought to take they would be others."""
    async with EventReader(service, camera="telling") as reader:
        await service.capture("telling", controls=LONG)
        events = await reader.until_ended()
    told = [event.progress_percent for event in events if event.type == Event.TYPE_PROGRESS]
    assert len(told) >= 2
    assert told == sorted(set(told))
    assert all(percent % 10 == 0 for percent in told), told
    assert told[-1] == 100


async def test_a_camera_that_is_lost_and_comes_back_is_told_once_each(service: Service) -> None:
    async with EventReader(service, camera="away") as reader:
        await service.capture("away")
        await refusal(service.capture("away"))
        await service.wait_for_state(pb.Camera.STATE_READY, "away")
        await service.capture("away")
        events = await reader.until_ended(3)
    of_the_camera = [event for event in events if not event.capture_id]
    assert steps(of_the_camera) == ["CAMERA_UNAVAILABLE", "CAMERA_AVAILABLE"]
    assert "simulated disconnection" in of_the_camera[0].error.message


async def test_a_camera_that_fails_for_good_is_back_once_it_is_reset(service: Service) -> None:
    async with EventReader(service, camera="broken") as reader:
        for _ in range(2):
            await refusal(service.capture("broken"))
        await service.stub.ResetCamera(api.ResetCameraRequest(camera="broken"), timeout=CALL_S)
        await service.capture("broken")
        events = await reader.until_ended(2)
    of_the_camera = [event for event in events if not event.capture_id]
    assert steps(of_the_camera) == ["CAMERA_UNAVAILABLE", "REJECTED", "CAMERA_AVAILABLE"]
    assert "reset the camera" in of_the_camera[0].error.message


async def test_a_service_that_stops_ends_the_stream_with_unavailable(tmp_path: Path) -> None:
    """Its captures go on for a while; the stream does not."""
    async with (
        Service(tmp_path, camera(capture_duration_s=0.5)) as service,
        EventReader(service) as reader,
    ):
        assert reader.heartbeats == [0], "at once, as there is nothing yet"
        holder = await held(service)
        await service.stop()
        error = await reader.ended()
        await holder
    assert error is not None
    info = error_info(error)
    assert (info.code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "CAMERA_UNAVAILABLE")
    assert "the service stops" in info.message
