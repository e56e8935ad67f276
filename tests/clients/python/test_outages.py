"""The service is killed, or falls silent: clients notice, and go on by themselves."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import (
    NEVER,
    AsyncCameraClient,
    CameraClient,
    CamsvcError,
    CaptureNotFound,
    DeadlineExceeded,
    Frame,
    LiveState,
    LiveStatus,
    Picture,
    Retry,
    ServiceUnreachable,
)

from tests.clients.python import fake
from tests.clients.python.conftest import StartRig
from tests.support.history import QUICK, exposures
from tests.support.proxy import Proxy
from tests.support.scenes import camera
from tests.support.timing import timing
from tests.support.waiting import until

SCENE = camera(fps=30) + camera("sim1", **QUICK)
DOWN_S = 3.0
BACK_S = 1.0
NOTICED_S = 5.0
GONE = "127.0.0.1:1"
"""Nothing listens there."""


class Watcher:
    """Reads a live view and all events, and takes one still after the other, as a user would."""

    def __init__(self, client: AsyncCameraClient) -> None:
        self._client = client
        self.live: list[tuple[float, Frame | LiveStatus]] = []
        self.events: list[tuple[float, pb.CaptureEvent]] = []
        self.connection: list[tuple[float, CamsvcError | None]] = []
        self.pictures: list[tuple[float, Picture]] = []
        self.errors: list[tuple[float, ServiceUnreachable]] = []
        self._tasks = [
            asyncio.create_task(work()) for work in (self._watch, self._follow, self._take)
        ]

    async def _watch(self) -> None:
        async for item in self._client.live_view("sim0"):
            self.live.append((time.time(), item))

    async def _follow(self) -> None:
        def told(error: CamsvcError | None) -> None:
            self.connection.append((time.time(), error))

        async for event in self._client.capture_events(after_sequence=0, on_connection=told):
            self.events.append((time.time(), event))

    async def _take(self) -> None:
        while True:
            try:
                picture = await self._client.capture("sim1", timeout=30)
            except ServiceUnreachable as error:
                self.errors.append((time.time(), error))
            else:
                self.pictures.append((time.time(), picture))
            await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Stop; fail with what ended one of them before."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result

    async def sees_all(self, since: float = 0.0) -> None:
        """Wait until all three have had something good since a time."""

        async def goes_on() -> bool:
            frames = [at for at, item in self.live if isinstance(item, Frame)]
            events = [at for at, _ in self.events]
            pictures = [at for at, _ in self.pictures]
            return all(times and times[-1] > since for times in (frames, events, pictures))

        await until(goes_on, "frames, events and pictures come")

    def back_after(self, since: float) -> dict[str, float]:
        """How long after a time (`time.time`) the service had each of them again, in seconds.

        What it then does, such as open a camera, is not theirs.
        """
        words = (at for at, item in self.live if at > since and not _is_unreachable(item))
        # Said once, maybe before the test itself knew.
        told = (at for at, error in reversed(self.connection) if error is None)
        asked = (p.capture.create_time.ToNanoseconds() / 1e9 for _, p in self.pictures)
        times = {"live view": words, "events": told, "captures": (t for t in asked if t > since)}
        return {name: next(found) - since for name, found in times.items()}


def _is_unreachable(item: Frame | LiveStatus) -> bool:
    return isinstance(item, LiveStatus) and item.state is LiveState.UNREACHABLE


@contextlib.asynccontextmanager
async def watching(client: AsyncCameraClient) -> AsyncIterator[Watcher]:
    watcher = Watcher(client)
    try:
        await watcher.sees_all()
        yield watcher
    finally:
        await watcher.end()


@pytest.mark.timed
@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_restart_is_lived_through_without_a_loss(start_rig: StartRig, end: str) -> None:
    """3 s down: all go on within 1 s; no event is missed, no picture taken twice."""
    rig = await start_rig(SCENE)
    async with AsyncCameraClient(rig.address) as client, watching(client) as watcher:
        await (rig.kill() if end == "kill" else rig.stop())
        killed_at = time.time()
        await asyncio.sleep(DOWN_S)
        await rig.start()
        with timing() as back:
            back_at = time.time()
            await watcher.sees_all(since=back_at)
            await watcher.sees_all(since=time.time())
        figures = watcher.back_after(back_at)
        newest = max(event.sequence for _, event in watcher.events)
        await watcher.end()

        print(f"down for {back_at - killed_at:.2f} s; back after {figures}")
        assert max(figures.values()) - back.waited_s < BACK_S, figures
        assert not watcher.errors
        lost = [item for at, item in watcher.live if killed_at < at < back_at]
        assert LiveState.UNREACHABLE in {i.state for i in lost if isinstance(i, LiveStatus)}
        assert len(lost) >= 2, "it is repeated"
        frames = [(at, i) for at, i in watcher.live if at > back_at and isinstance(i, Frame)]
        ages_s = [at - frame.acquired_ns / 1e9 for at, frame in frames]
        assert max(ages_s) - back.waited_s < 1, "they are fresh"
        told = [error is None for _, error in watcher.connection]
        assert told == [False, True]

        numbers = [event.sequence for _, event in watcher.events]
        assert numbers == list(range(1, newest + 1)), "each once, in order"
        check_taken_once(watcher, [c async for c in client.list_captures(page_size=500)])


def check_taken_once(watcher: Watcher, kept: list[pb.Capture]) -> None:
    """Each request has one picture, and each life's shutter was pressed as often as it must."""
    good = [c for c in kept if c.state == pb.Capture.STATE_SUCCEEDED]
    assert max(Counter(c.request_id for c in good).values()) == 1
    mine = [picture.capture for _, picture in watcher.pictures]
    assert len({c.capture_id for c in mine}) == len(mine)
    assert {c.capture_id for c in mine} <= {c.capture_id for c in good}
    counts = [exposures(c) for c in sorted(good, key=lambda c: c.acquisition_time.ToNanoseconds())]
    restarts = [(a, b) for a, b in itertools.pairwise(counts) if b != a + 1]
    assert len(restarts) <= 1, f"pressed in vain: {counts}"
    assert all(b == 1 for _, b in restarts), counts


async def test_a_stream_on_which_nothing_came_yet_lives_through_it_too(start_rig: StartRig) -> None:
    """It was there once: however long the service is gone then, the reader waits."""
    rig = await start_rig(SCENE)
    async with AsyncCameraClient(rig.address) as client:
        await client.capture("sim1")
        newest = (await client.capture_events().__aenter__()).place
    impatient = Retry(reconnect_s=0.1)
    async with (
        AsyncCameraClient(rig.address, retry=impatient) as client,
        client.capture_events(after_sequence=newest) as events,
    ):
        first = asyncio.create_task(anext(events))
        await rig.kill()
        await asyncio.sleep(1)
        await rig.start()
        async with AsyncCameraClient(rig.address) as other:  # a patient one
            await other.capture("sim1")
        assert (await asyncio.wait_for(first, 10)).sequence == (newest or 0) + 1


@pytest.mark.timed
async def test_silence_is_noticed_and_its_end_too(start_rig: StartRig) -> None:
    """SIGSTOP: a clear error within 5 s, for calls and streams; after SIGCONT all go on."""
    rig = await start_rig(SCENE)
    async with AsyncCameraClient(rig.address) as client, watching(client) as watcher:

        async def noticed() -> bool:
            return bool(watcher.errors and watcher.connection) and _is_unreachable(
                watcher.live[-1][1]
            )

        with timing() as noticing:
            frozen_at = time.time()
            rig.freeze()
            await until(noticed, "the silence is noticed", within_s=20)
        noticed_after = {
            "call": watcher.errors[0][0] - frozen_at,
            "events": watcher.connection[0][0] - frozen_at,
            "live view": next(at for at, i in watcher.live if _is_unreachable(i)) - frozen_at,
        }
        assert f"{rig.address} does not answer" in str(watcher.errors[0][1])
        await asyncio.sleep(1)
        with timing() as back:
            thawed_at = time.time()
            rig.thaw()
            await watcher.sees_all(since=thawed_at)
        figures = watcher.back_after(thawed_at)
        print(f"noticed after {noticed_after}; back after {figures}")
        assert max(noticed_after.values()) - noticing.waited_s < NOTICED_S
        assert max(figures.values()) - back.waited_s < BACK_S
        await watcher.sees_all(since=time.time())
        await watcher.end()
        numbers = [event.sequence for _, event in watcher.events]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_a_short_silence_is_none(start_rig: StartRig) -> None:
    """Nobody is troubled by a service that was held up for two seconds."""
    rig = await start_rig(SCENE)
    async with AsyncCameraClient(rig.address) as client, watching(client) as watcher:
        rig.freeze()
        await asyncio.sleep(2)
        rig.thaw()
        await watcher.sees_all(since=time.time())
        assert not watcher.errors
        assert not watcher.connection


async def test_quiet_calls_are_not_taken_for_silence(start_rig: StartRig) -> None:
    """A still that takes long, and a camera that shows a frame every three seconds, are well."""
    slow = camera(capture_duration_s=3.0) + camera("slow", fps=0.35)
    rig = await start_rig(slow)
    async with (
        AsyncCameraClient(rig.address, silence_s=1.0) as client,
        client.live_view("slow") as view,
    ):
        picture = await client.capture("sim0", timeout=30)
        assert picture.data
        frames = 0
        async for item in view:
            assert not _is_unreachable(item)
            frames += isinstance(item, Frame)
            if frames == 2:
                break


async def test_a_service_without_health_is_asked_otherwise() -> None:
    """As behind a proxy that passes on nothing but the cameras' calls."""
    asked = 0

    async def slow(request: api.GetCameraRequest, context: fake.Context) -> api.GetCameraResponse:
        await asyncio.sleep(2.5)
        return api.GetCameraResponse(camera=pb.Camera(camera="slow"))

    async def cameras(
        request: api.ListCamerasRequest, context: fake.Context
    ) -> api.ListCamerasResponse:
        nonlocal asked
        asked += 1
        return api.ListCamerasResponse()

    async with (
        fake.served(GetCamera=slow, ListCameras=cameras) as address,
        AsyncCameraClient(address, silence_s=1.0) as client,
    ):
        assert (await client.get_camera("slow")).camera == "slow"
    assert asked >= 3


async def test_an_answer_is_a_sign_of_life_while_the_service_is_asked_for_one() -> None:
    """It asks after 1 s and would wait to the 2nd; there is an answer at 1.2 s and one at 2.4 s."""

    async def slow(request: api.GetCameraRequest, context: fake.Context) -> api.GetCameraResponse:
        await asyncio.sleep(1.2)
        return api.GetCameraResponse(camera=pb.Camera(camera=request.camera))

    async def mute(
        request: api.ListCamerasRequest, context: fake.Context
    ) -> api.ListCamerasResponse:
        await asyncio.sleep(60)
        return api.ListCamerasResponse()

    async with (
        fake.served(GetCamera=slow, ListCameras=mute) as address,
        AsyncCameraClient(address, silence_s=2.0) as client,
    ):
        for name in ("first", "second"):
            assert (await client.get_camera(name)).camera == name


async def test_what_must_not_be_done_twice_is_not(start_rig: StartRig) -> None:
    """A deletion or a reset whose answer is lost is the caller's to decide."""
    rig = await start_rig(SCENE)
    async with Proxy(rig.address) as line, AsyncCameraClient(line.address) as client:
        capture_id = (await client.capture("sim1", fetch=False)).capture.capture_id
        line.cut_next_reply()
        with pytest.raises(ServiceUnreachable, match="the connection was lost"):
            await client.delete_capture(capture_id)
        await client.list_cameras()  # is repeated, and so sees to a new connection
        with pytest.raises(CaptureNotFound):
            await client.delete_capture(capture_id)
        line.cut_next_reply()
        with pytest.raises(ServiceUnreachable):
            await client.reset_camera("sim1")
        assert line.cuts == 2


async def test_a_service_that_is_not_there_is_an_error_in_words() -> None:
    async with AsyncCameraClient(GONE, retry=NEVER) as client:
        with pytest.raises(ServiceUnreachable) as caught:
            await client.list_cameras()
        expected = f"the camera service at {GONE} cannot be reached: Connection refused"
        assert str(caught.value) == expected
        assert isinstance(caught.value, ConnectionError)
        with pytest.raises(ServiceUnreachable):
            async with client.live_view("sim0"):
                pass
        with pytest.raises(ServiceUnreachable):
            await anext(client.capture_events())


async def test_a_time_out_holds_while_the_service_is_not_there() -> None:
    async with AsyncCameraClient(GONE) as client:
        started = time.time()
        with pytest.raises(ServiceUnreachable):
            await client.capture("sim0", timeout=0.7)
        assert time.time() - started < 1.0


async def test_a_service_that_never_spoke_is_silent_too() -> None:
    """It takes connections and says nothing, as one that was frozen before."""

    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        async with AsyncCameraClient(f"127.0.0.1:{port}", silence_s=1.0) as client:
            started = time.time()
            with pytest.raises(ServiceUnreachable, match="does not answer"):
                await client.get_camera("sim0", timeout=30)
            assert time.time() - started < 2
            with pytest.raises(DeadlineExceeded):
                await client.get_camera("sim0", timeout=0.3)


async def test_the_blocking_client_lives_through_a_restart_too(start_rig: StartRig) -> None:
    rig = await start_rig(SCENE)
    with CameraClient(rig.address) as client:
        assert await asyncio.to_thread(client.capture, "sim1", timeout=30)
        await rig.kill()
        waiting = asyncio.create_task(asyncio.to_thread(client.capture, "sim1", timeout=30))
        await asyncio.sleep(1)
        await rig.start()
        assert (await waiting).data
