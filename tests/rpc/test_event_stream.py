"""The stream of events: from any point, by any reader, each event once, also across restarts."""

import asyncio
import contextlib
import random
import time
from pathlib import Path

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from camsvc.model.records import EventRecord, EventType
from camsvc.storage import event_queries
from camsvc.storage.schema import connect
from tests.conftest import StartService
from tests.support import endurance
from tests.support.events import Event, EventReader, steps
from tests.support.history import QUICK, REFERENCE
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

SEED = 4
CAMERAS = 4
CAPTURES = endurance.times(1000)
DISCONNECTIONS = CAPTURES // 5
LONGEST_VISIT_S = 0.05
HEARTBEAT_S = 10.0
LEAST_KEPT = 1000
"""The least that the settings' `max_events` may be."""


async def taken(service: Service, name: str = "sim0") -> pb.Capture:
    return (await service.capture(name, delivery=REFERENCE)).capture


async def test_each_reader_begins_where_it_wants_to(start_service: StartService) -> None:
    """And goes on with what comes, as everybody else."""
    service = await start_service(camera(**QUICK) + camera("sim1", **QUICK))
    for n in range(4):
        await taken(service, f"sim{n % 2}")
    async with (
        EventReader(service, after_sequence=0) as whole,
        EventReader(service, after_sequence=3) as rest,
        EventReader(service, after_sequence=8) as future,
        EventReader(service) as live,
        EventReader(service, camera="sim1", after_sequence=0) as one,
        EventReader(service, camera="sim1") as live_one,
    ):
        assert live.heartbeats == live_one.heartbeats == [8], "its place, also with a filter"
        await taken(service, "sim1")
        await taken(service)
        for reader, count in ((whole, 6), (rest, 5), (future, 2), (live, 2)):
            await reader.until_ended(count)
        await one.until_ended(3)
        await live_one.until_ended()
    assert whole.numbers == list(range(1, 13))
    assert rest.numbers == list(range(4, 13))
    assert future.numbers == live.numbers == list(range(9, 13))
    assert one.numbers == [3, 4, 7, 8, 9, 10]
    assert live_one.numbers == [9, 10]
    assert {event.camera for event in one.events} == {"sim1"}
    assert not any(reader.heartbeats for reader in (whole, rest, future, one))
    by_number = {event.sequence: event for event in whole.events}
    for reader in (rest, future, live, one, live_one):
        assert all(event == by_number[event.sequence] for event in reader.events)


async def test_the_numbers_go_on_in_the_next_service(tmp_path: Path) -> None:
    settings = camera(**QUICK)
    async with Service(tmp_path, settings) as service:
        await taken(service)
        async with EventReader(service, after_sequence=0) as before:
            await before.until_ended()
    async with Service(tmp_path, settings) as service:
        async with EventReader(service) as reader:
            assert reader.heartbeats == [2]
            await taken(service)
            await reader.until_ended()
        async with EventReader(service, after_sequence=0) as after:
            await after.until_ended(2)
        async with EventReader(service, after_sequence=1) as resumed:
            await resumed.until_ended(2)
    assert after.numbers == [1, 2, 3, 4]
    assert after.events[:2] == before.events
    assert after.events[2:] == reader.events
    assert resumed.events == after.events[1:]


async def test_a_gap_says_where_the_kept_history_begins(tmp_path: Path) -> None:
    """The oldest events go when there are too many; retention looks at that when it starts."""
    settings = f"[retention]\nmax_events = {LEAST_KEPT}\n{camera()}" + camera("sim1", **QUICK)
    first, last = 4, LEAST_KEPT + 3
    (tmp_path / "data").mkdir()
    db, *_ = connect(tmp_path / "data" / "journal.sqlite3", 1)
    with contextlib.closing(db):
        db.execute("BEGIN")
        for number in range(last):
            kept = EventRecord(EventType.STARTED, number, "sim0" if number >= first else "sim1")
            event_queries.add_event(db, kept)
        db.execute("COMMIT")
    async with Service(tmp_path, settings) as service:

        async def gap(**fields: int | str) -> int:
            request = api.CaptureEventsRequest(**fields)  # type: ignore[arg-type]
            call = service.stub.CaptureEvents(request, timeout=CALL_S)
            message = await call.read()
            call.cancel()
            assert isinstance(message, api.CaptureEventsResponse)
            return message.gap.first_available_sequence

        async def trimmed() -> bool:
            return await gap(after_sequence=0) == first

        await until(trimmed, f"{LEAST_KEPT} events are left")
        assert await gap(after_sequence=first - 2) == first
        assert await gap(after_sequence=0, camera="sim1") == first, "its own are gone, too"
        async with EventReader(service, after_sequence=0) as reader:
            await reader.until(lambda: len(reader.events) == LEAST_KEPT, "all that is kept")
        async with EventReader(service, after_sequence=first - 1) as exact:
            await exact.until(lambda: len(exact.events) == LEAST_KEPT, "all that is kept")
    assert reader.messages[0].HasField("gap")
    assert reader.numbers == exact.numbers == list(range(first, last + 1))
    assert [m.HasField("gap") for m in exact.messages] == [False] * LEAST_KEPT


async def test_a_quiet_stream_has_a_heartbeat_every_10_s(start_service: StartService) -> None:
    """With the newest number of all, where a reader of one camera may resume."""
    service = await start_service(camera(**QUICK) + camera("sim1", **QUICK))
    async with (
        EventReader(service, after_sequence=0) as whole,
        EventReader(service, camera="sim1", after_sequence=0) as one,
    ):
        await taken(service)
        await whole.until_ended()
        quiet_since = time.monotonic()
        await whole.until(lambda: bool(whole.heartbeats), "a heartbeat", within_s=12)
        assert time.monotonic() - quiet_since > HEARTBEAT_S - 0.5
        await one.until(lambda: bool(one.heartbeats), "a heartbeat")
    assert whole.heartbeats == one.heartbeats == [2]
    assert one.events == []


async def test_a_reader_that_comes_and_goes_all_the_time_has_seen_every_event_once_in_order(
    start_service: StartService,
) -> None:
    """While captures of four cameras run; it resumes after the last one it has seen."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    names = [f"sim{n}" for n in range(CAMERAS)]
    service = await start_service("".join(camera(name, **QUICK) for name in names))
    seen: list[pb.CaptureEvent] = []
    captures: list[pb.Capture] = []

    async def take(name: str) -> None:
        for _ in range(CAPTURES // CAMERAS):
            captures.append(await taken(service, name))

    async def read(channel: grpc.aio.Channel) -> None:
        after = seen[-1].sequence if seen else 0
        request = api.CaptureEventsRequest(after_sequence=after)
        async for message in CameraServiceStub(channel).CaptureEvents(request):
            assert message.HasField("event"), message
            seen.append(message.event)
            if message.event.sequence == total:
                return

    taking = [asyncio.create_task(take(name)) for name in names]
    total, channel, in_time = 0, service.connect(), 0
    for _ in range(DISCONNECTIONS):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, LONGEST_VISIT_S)):
                await read(channel)
        in_time += len(captures) < CAPTURES
        if chance.random() < 0.5:  # the whole connection
            await channel.close()
            channel = service.connect()
    await asyncio.gather(*taking)
    async with EventReader(service) as reader:
        (total,) = reader.heartbeats
    async with asyncio.timeout(CALL_S):
        await read(channel)
    await channel.close()
    print(f"{in_time} of {DISCONNECTIONS} disconnections while captures were taken")
    assert in_time > DISCONNECTIONS / 2
    assert [event.sequence for event in seen] == list(range(1, total + 1))
    ended = [event.capture for event in seen if event.type == Event.TYPE_SUCCEEDED]
    assert len(ended) == CAPTURES
    assert {c.capture_id: c for c in ended} == {c.capture_id: c for c in captures}
    stories = {c.capture_id: steps([]) for c in captures}
    for event in seen:
        stories[event.capture_id] += steps([event])
    assert all(story == ["STARTED", "SUCCEEDED"] for story in stories.values())
