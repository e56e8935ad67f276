"""Live view and events: what comes, from where on, and how a reader leaves."""

import asyncio
import contextlib
import gc
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import (
    NEVER,
    AsyncCameraClient,
    CameraClient,
    CameraFaulted,
    CameraNotFound,
    EventsMissed,
    Frame,
    LiveState,
    LiveStatus,
    QueueFull,
    Stream,
)
from camsvc_client.newest import Newest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tests.clients.python import fake
from tests.conftest import StartService
from tests.support.scenes import camera, fault
from tests.support.waiting import until

TYPES = pb.CaptureEvent


async def viewers(client: AsyncCameraClient) -> int:
    return (await client.get_camera("sim0")).statistics.live_viewers


async def nobody_watches(client: AsyncCameraClient) -> None:
    async def none() -> bool:
        return await viewers(client) == 0

    await until(none, "the viewer has left", within_s=2)


async def test_frames_are_fresh_and_decode(client: AsyncCameraClient) -> None:
    frames: list[Frame] = []
    states: list[LiveState] = []
    async with client.live_view("sim0", max_width_px=160, max_fps=20) as view:
        async for item in view:
            if isinstance(item, LiveStatus):
                states.append(item.state)
            else:
                frames.append(item)
            if len(frames) == 5:
                break
    assert LiveState.LIVE in states
    assert [f.sequence for f in frames] == sorted({f.sequence for f in frames})
    for frame in frames:
        assert (frame.width_px, frame.array().shape) == (160, (120, 160, 3))
        assert -0.1 < time.time() - frame.acquired_at.timestamp() < 5


SLOW_S = 0.4
"""What the slow viewer does with each frame takes so long; the camera has four meanwhile."""
PERIOD_S = 0.1


class SlowViewer:
    """Takes frames, and its time."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.frames: list[tuple[Frame, float]] = []

    def asyncio(self) -> None:
        asyncio.run(self._watch(blocks=False))

    def asyncio_blocked(self) -> None:
        asyncio.run(self._watch(blocks=True))

    def blocking(self) -> None:
        with CameraClient(self._address) as client, client.live_view("sim0") as view:
            for item in view:
                if self._enough(item):
                    return
                time.sleep(SLOW_S)

    async def _watch(self, *, blocks: bool) -> None:
        async with AsyncCameraClient(self._address) as client, client.live_view("sim0") as view:
            async for item in view:
                if self._enough(item):
                    return
                await asyncio.sleep(0 if blocks else SLOW_S)
                time.sleep(SLOW_S if blocks else 0)  # noqa: ASYNC251

    def _enough(self, item: Frame | LiveStatus) -> bool:
        if isinstance(item, Frame):
            self.frames.append((item, item.age_s))
        return len(self.frames) == 8


async def test_a_slow_viewer_is_at_most_one_frame_behind(start_service: StartService) -> None:
    """Small frames: gRPC alone would hand on what was seconds ago. Each drop is counted."""
    service = await start_service(camera(fps=1 / PERIOD_S))
    ways = (SlowViewer.asyncio, SlowViewer.asyncio_blocked, SlowViewer.blocking)
    viewers = [SlowViewer(service.address) for _ in ways]
    await asyncio.gather(*map(asyncio.to_thread, ways, viewers))
    for way, viewer in zip(ways, viewers, strict=True):
        ages = [age for _, age in viewer.frames[1:]]
        print(way.__name__, [f"{age:.3f}" for age in ages])
        # A machine that is held up delays single frames; it does not add up, as it would in gRPC.
        assert statistics.median(ages) < 2 * PERIOD_S
        assert max(ages) < SLOW_S + 2 * PERIOD_S
        frames = [frame for frame, _ in viewer.frames]
        numbers = [frame.sequence for frame in frames]
        assert numbers == sorted(set(numbers))
        missed = numbers[-1] - numbers[0] + 1 - len(numbers)
        assert frames[-1].dropped - frames[0].dropped == missed


async def test_of_what_comes_the_newest_of_each_kind_is_kept() -> None:
    """Nothing waits but one item of a kind; the order stays, and an error comes last."""
    go_on = asyncio.Event()

    async def source() -> AsyncGenerator[int | str, None]:
        for item in (1, 2, "a", 3, "b"):
            yield item
        await go_on.wait()
        yield 4
        raise OSError("gone")

    items = Newest(source(), type)
    assert await anext(items) == (3, 2)
    assert await anext(items) == ("b", 1)
    go_on.set()
    assert await anext(items) == (4, 0)
    with pytest.raises(OSError, match="gone"):
        await anext(items)
    await items.aclose()


async def test_a_still_shows_as_pause(client: AsyncCameraClient) -> None:
    async with client.live_view("sim0") as view:
        while not isinstance(await anext(view), Frame):
            pass
        capture = asyncio.create_task(client.capture("sim0"))
        while not (isinstance(item := await anext(view), LiveStatus)):
            pass
        assert item.state is LiveState.PAUSED
        assert item.last_frame_time is not None
        await capture
        while not isinstance(await anext(view), Frame):
            pass


async def test_a_faulted_camera_is_offline_with_its_error(start_service: StartService) -> None:
    service = await start_service(camera(faults=[fault("permanent", on="open", times=0)]))
    async with AsyncCameraClient(service.address) as client, client.live_view("sim0") as view:
        async for item in view:
            if isinstance(item, LiveStatus) and item.state is LiveState.OFFLINE:
                assert isinstance(item.error, CameraFaulted)
                break


async def test_leaving_a_live_view_ends_its_call(client: AsyncCameraClient) -> None:
    """By `close`, by `break`, and by cancelling the task; the latter two, once it is forgotten."""
    await nobody_watches(client)
    view = client.live_view("sim0")
    await anext(view)
    assert await viewers(client) == 1
    await view.close()
    await view.close()
    await nobody_watches(client)
    with pytest.raises(StopAsyncIteration):
        await anext(view)

    async for _ in client.live_view("sim0"):
        break
    gc.collect()
    await nobody_watches(client)

    async def watch() -> None:
        async for _ in client.live_view("sim0"):
            pass

    task = asyncio.create_task(watch())

    async def watched() -> bool:
        return await viewers(client) == 1

    await until(watched, "it watches")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    del task
    gc.collect()
    await nobody_watches(client)


async def test_a_stream_is_closed_from_elsewhere(client: AsyncCameraClient) -> None:
    """The one who waits for an item sees the end, not an error."""
    events = client.capture_events()
    reading = asyncio.create_task(anext(events, None))
    await asyncio.sleep(0.2)
    await events.close()
    assert await reading is None


async def test_a_reader_that_waits_for_a_while_only_misses_nothing(
    client: AsyncCameraClient,
) -> None:
    seen: list[int] = []
    waits = 0

    async def read(events: Stream[pb.CaptureEvent]) -> None:
        nonlocal waits
        while len(seen) < 12:
            waits += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    seen.append((await anext(events)).sequence)

    async with client.capture_events() as events:
        first = (events.place or 0) + 1
        reading = asyncio.create_task(read(events))
        for _ in range(6):
            await client.capture("sim0", fetch=False)
        await asyncio.wait_for(reading, 10)
    assert seen == list(range(first, first + 12))
    assert waits > 12, "some were in vain"


async def test_closing_the_client_ends_its_streams(address: str) -> None:
    """Also one that somebody has given up waiting for, and one that somebody waits for."""
    client = AsyncCameraClient(address)
    view, events = client.live_view("sim0", max_fps=0.1), client.capture_events()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            while True:
                await anext(view)
    reading = asyncio.create_task(anext(events, None))
    await asyncio.sleep(0)
    await client.close()
    assert await reading is None
    assert await anext(view, None) is None


async def test_a_stream_that_is_given_up_and_forgotten_ends(client: AsyncCameraClient) -> None:
    await nobody_watches(client)
    view = client.live_view("sim0", max_fps=0.1)
    await anext(view)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            while True:
                await anext(view)
    assert await viewers(client) == 1
    del view
    gc.collect()
    await nobody_watches(client)


async def test_one_reader_to_a_stream(client: AsyncCameraClient) -> None:
    async with client.capture_events() as events:
        reading = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(events)
        reading.cancel()
        await asyncio.wait([reading])


async def test_what_the_service_refuses_is_raised(start_service: StartService) -> None:
    service = await start_service(camera(max_viewers=1))
    async with AsyncCameraClient(service.address) as client:
        with pytest.raises(CameraNotFound):
            await anext(client.live_view("nono"))
        with pytest.raises(CameraNotFound):
            await anext(client.capture_events("nono"))
        async with (
            client.live_view("sim0") as view,
            AsyncCameraClient(service.address, retry=NEVER) as impatient,
        ):
            await anext(view)
            with pytest.raises(QueueFull):
                await anext(impatient.live_view("sim0"))
            refused = client.live_view("sim0")
            status = await anext(refused)
            assert isinstance(status, LiveStatus)
            assert status.state is LiveState.RECOVERING
            assert isinstance(status.error, QueueFull)
            await view.close()
            while not isinstance(await anext(refused), Frame):
                pass  # it gets in when there is room


async def test_inside_async_with_no_event_is_missed(client: AsyncCameraClient) -> None:
    await client.capture("sim0")
    async with client.capture_events("sim0") as events:
        before = events.place
        assert before
        picture = await client.capture("sim0")
        await client.capture("sim1")
        seen = [await anext(events), await anext(events)]
        assert [e.type for e in seen] == [TYPES.TYPE_STARTED, TYPES.TYPE_SUCCEEDED]
        assert seen[1].capture == picture.capture
        assert events.place == seen[1].sequence == before + 2


async def test_events_go_on_after_any_number(client: AsyncCameraClient) -> None:
    for _ in range(3):
        await client.capture("sim0")
    whole = [await anext(stream) for stream in [client.capture_events(after_sequence=0)] * 6]
    assert [event.sequence for event in whole] == [1, 2, 3, 4, 5, 6]
    assert await anext(client.capture_events(after_sequence=4)) == whole[4]


async def test_history_that_is_gone_is_an_error_that_says_where_to_go_on() -> None:
    async def events(
        request: api.CaptureEventsRequest, context: fake.Context
    ) -> AsyncIterator[api.CaptureEventsResponse]:
        if request.after_sequence < 49:
            yield api.CaptureEventsResponse(gap=pb.EventGap(first_available_sequence=50))
        yield api.CaptureEventsResponse(event=pb.CaptureEvent(sequence=50))

    async with fake.served(CaptureEvents=events) as address, AsyncCameraClient(address) as client:
        with pytest.raises(EventsMissed, match="after number 3 are no longer kept") as missed:
            await anext(client.capture_events(after_sequence=3))
        first = await anext(client.capture_events(after_sequence=missed.value.resume_after))
        assert first.sequence == 50


async def test_another_history_is_an_error_too(client: AsyncCameraClient) -> None:
    """The service's data was replaced: a number of before means nothing to it."""
    with pytest.raises(EventsMissed, match="history was replaced") as replaced:
        await anext(client.capture_events(after_sequence=10**6))
    assert replaced.value.resume_after == 0


async def test_a_stream_that_the_service_ends_is_taken_up_again() -> None:
    """Each connection begins after the last event, or after what a heartbeat said."""
    asked: list[int | None] = []

    async def events(
        request: api.CaptureEventsRequest, context: fake.Context
    ) -> AsyncIterator[api.CaptureEventsResponse]:
        place = request.after_sequence if request.HasField("after_sequence") else None
        asked.append(place)
        if place is None:
            yield api.CaptureEventsResponse(heartbeat=pb.EventHeartbeat(last_sequence=7))
        elif place == 7:
            yield api.CaptureEventsResponse(event=pb.CaptureEvent(sequence=8))
        elif place == 8:
            yield api.CaptureEventsResponse(heartbeat=pb.EventHeartbeat(last_sequence=20))
        else:
            yield api.CaptureEventsResponse(event=pb.CaptureEvent(sequence=21))

    async with fake.served(CaptureEvents=events) as address, AsyncCameraClient(address) as client:
        stream = client.capture_events("sim0")
        assert [(await anext(stream)).sequence, (await anext(stream)).sequence] == [8, 21]
        assert asked == [None, 7, 8, 20]
        await stream.close()


async def test_the_age_of_a_frame_is_by_the_service_and_no_wall_clock() -> None:
    """Whatever the time is there: what it says, and the time since."""

    seen = asyncio.Event()

    async def frames(request: api.LiveViewRequest, context: fake.Context) -> Any:
        yield api.LiveViewResponse(frame=pb.LiveFrame(sequence=1, age=Duration(seconds=5)))
        await seen.wait()
        yield api.LiveViewResponse(
            frame=pb.LiveFrame(sequence=2, acquisition_time=Timestamp(seconds=4_000_000_000))
        )

    async with (
        fake.served(LiveView=frames) as address,
        AsyncCameraClient(address) as client,
        client.live_view("sim0") as view,
    ):
        frame = await anext(view)
        assert isinstance(frame, Frame)
        seen.set()
        first = frame.age_s
        assert 5 <= first < 60
        await asyncio.sleep(0.1)  # it is about the time that passes
        assert frame.age_s >= first + 0.1
        frame = await anext(view)
        assert isinstance(frame, Frame)
        assert 0 <= frame.age_s < 60
