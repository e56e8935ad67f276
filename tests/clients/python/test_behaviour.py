"""The table that both clients share, clients/behaviour.json, row by row against a real service.

The TypeScript client's tests run the same rows: clients/typescript/test/behaviour.test.ts.
"""

import asyncio
import contextlib
import inspect
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import camsvc_client
import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camsvc_client import AsyncCameraClient, CamsvcError, Frame, Picture, Retry
from camsvc_client.aio import QUICK_S
from camsvc_client.live import STATUS_REPEAT_S
from camsvc_client.retry import BACKOFF_INITIAL_S, BACKOFF_JITTER, BACKOFF_MAX_S, RetrySchedule

from scripts.behaviour import PAGE, TABLE, Row, rewritten, title
from tests.clients.python.conftest import StartRig
from tests.clients.python.rig import Rig
from tests.support.history import exposures
from tests.support.proxy import Proxy
from tests.support.scenes import camera
from tests.support.timing import Waits
from tests.support.waiting import until

CAMERA = "sim0"
SOON_S = 0.3
"""When the caller cancels, or the service is started again."""
SLACK_S = 0.75
"""For back-offs and connecting: gRPC's own attempts come every 0.2 s."""
FIGURES: dict[str, Row] = {
    "frozen": {"silence_s": 1.0},
    "dead": {"silence_s": 1.0},
    "gone": {"reconnect_s": 1.0},
    "restarted": {"reconnect_s": 60.0},
}
"""Short ones where the test has to wait for them, a long one where a busy machine may be slow."""


def test_the_defaults_are_those_of_the_table() -> None:
    retry = Retry()
    silence_s = inspect.signature(AsyncCameraClient).parameters["silence_s"].default
    assert TABLE["defaults"] == {
        "give_up_after_s": retry.give_up_after_s,
        "reconnect_s": retry.reconnect_s,
        "silence_s": silence_s,
        "quick_timeout_s": QUICK_S,
        "status_repeat_s": STATUS_REPEAT_S,
        "backoff_initial_s": BACKOFF_INITIAL_S,
        "backoff_max_s": BACKOFF_MAX_S,
        "backoff_jitter": BACKOFF_JITTER,
    }


def test_the_page_shows_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rewritten(page) == page, "run make behaviour"


def test_back_offs_grow_to_their_maximum_and_vary() -> None:
    info = camsvc_client.RpcErrorInfo(grpc.StatusCode.UNAVAILABLE, None, "gone")
    gone = camsvc_client.ServiceUnreachable(info)
    schedules = [RetrySchedule(Retry()) for _ in range(200)]
    runs = [[schedule.wait_s(gone) or 0.0 for _ in range(5)] for schedule in schedules]
    bases = [min(BACKOFF_MAX_S, BACKOFF_INITIAL_S * 2**n) for n in range(5)]
    for base, waits in zip(bases, zip(*runs, strict=True), strict=True):
        low, high = base * (1 - BACKOFF_JITTER), base * (1 + BACKOFF_JITTER)
        assert all(low <= wait <= high for wait in waits)
        assert max(waits) - min(waits) > 0.5 * (high - low)


@pytest.mark.parametrize("row", TABLE["rows"], ids=title)
@pytest.mark.timed
async def test_what_a_user_sees(row: Row, start_rig: StartRig) -> None:
    rig = await start_rig(camera(CAMERA, **row.get("camera", {})))
    async with contextlib.AsyncExitStack() as stack:
        address = rig.address
        proxy = None
        if row["situation"] in ("cut", "dead"):
            proxy = await stack.enter_async_context(Proxy(rig.address))
            address = proxy.address
        figures = TABLE["defaults"] | FIGURES.get(row["situation"], {}) | row.get("client", {})
        retry = Retry(figures["give_up_after_s"], figures["reconnect_s"])
        client = AsyncCameraClient(address, retry=retry, silence_s=figures["silence_s"])
        scene = Scene(
            row=row,
            figures={**figures, "at once": 0.0, "timeout_s": row.get("timeout_s")},
            rig=rig,
            proxy=proxy,
            client=await stack.enter_async_context(client),
            waits=Waits(),
            other=await stack.enter_async_context(AsyncCameraClient(rig.address)),
        )
        async with scene_ended(scene):
            await (play_stream if row["doing"] in OPENED else play_call)(scene)


@dataclass
class Seen:
    """What a stream has shown, as the table names it, with the time of each."""

    labels: list[tuple[float, str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, label: str) -> None:
        self.labels.append((asyncio.get_running_loop().time(), label))

    def has(self, wanted: list[str], since: float = 0.0) -> bool:
        """Whether all of it was seen since a time, in this order."""
        labels = iter([label for at, label in self.labels if at >= since])
        return all(label in labels for label in wanted)


@dataclass
class Scene:
    """A row that is being played."""

    row: Row
    figures: dict[str, Any]
    rig: Rig
    proxy: Proxy | None
    client: AsyncCameraClient
    other: AsyncCameraClient
    waits: Waits
    capture_id: str = ""
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    def start(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    def check_time(self, took_s: float) -> None:
        """Check when it was seen, against the row's figure."""
        if when := self.row.get("when"):
            figure_s = self.figures[when]
            assert took_s >= 0.7 * figure_s, (when, took_s)
            waited_s = Waits().since(self.waits)
            assert took_s - waited_s <= figure_s + SLACK_S, (when, took_s, waited_s)


@contextlib.asynccontextmanager
async def scene_ended(scene: Scene) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in scene.tasks:
            task.cancel()
        await asyncio.gather(*scene.tasks, return_exceptions=True)


# What happens.


async def nothing(scene: Scene) -> None:
    """The camera's settings do it, or the call's."""


async def busy(scene: Scene) -> None:
    scene.start(scene.other.capture(CAMERA))
    await wait_for_state(scene, pb.Camera.STATE_CAPTURING)


async def full(scene: Scene) -> None:
    view = scene.other.live_view(CAMERA)
    await anext(view)

    async def leave() -> None:
        async def refused() -> bool:
            return bool(scene.seen.labels)

        await until(refused, "the client is refused", within_s=40)
        await view.close()

    scene.start(leave())


async def away(scene: Scene) -> None:
    if "timeout_s" in scene.row:  # the first to ask opens the camera, and waits for that
        scene.start(scene.other.capture(CAMERA))
        await wait_for_state(scene, pb.Camera.STATE_AWAY)


async def faulted(scene: Scene) -> None:
    with pytest.raises(camsvc_client.CameraFaulted):  # opens it, which takes time
        await scene.other.capture(CAMERA)


async def gone(scene: Scene) -> None:
    await scene.rig.kill()


async def restarted(scene: Scene) -> None:
    async def start() -> None:
        await asyncio.sleep(SOON_S)
        await scene.rig.start()

    await scene.rig.kill()
    scene.start(start())


async def frozen(scene: Scene) -> None:
    scene.rig.freeze()


async def held_up(scene: Scene) -> None:
    async def thaw() -> None:
        await asyncio.sleep(scene.figures["silence_s"] / 2)
        scene.rig.thaw()

    scene.rig.freeze()
    scene.start(thaw())


async def cut(scene: Scene) -> None:
    assert scene.proxy
    if scene.row["doing"] in OPENED:
        scene.proxy.cut()
    else:
        scene.proxy.cut_next_reply(after_bytes=5)


async def dead(scene: Scene) -> None:
    assert scene.proxy
    scene.proxy.forget()


async def wait_for_state(scene: Scene, state: "pb.Camera.State.ValueType") -> None:
    async def reached() -> bool:
        return (await scene.other.get_camera(CAMERA)).state == state

    await until(reached, "the camera's state")


HAPPENS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "busy": busy,
    "full": full,
    "away": away,
    "faulted": faulted,
    "deadline": nothing,
    "cancelled": nothing,
    "gone": gone,
    "restarted": restarted,
    "frozen": frozen,
    "held up": held_up,
    "dead": dead,
    "cut": cut,
}


# Calls.


CALLED: dict[str, Callable[[Scene], Awaitable[Any]]] = {
    "list": lambda scene: scene.client.list_cameras(timeout=scene.row.get("timeout_s", QUICK_S)),
    "capture": lambda scene: scene.client.capture(CAMERA, timeout=scene.row.get("timeout_s")),
    "delete": lambda scene: scene.client.delete_capture(scene.capture_id),
    "reset": lambda scene: scene.client.reset_camera(CAMERA),
    "download": lambda scene: scene.client.download_image(scene.capture_id),
}


async def play_call(scene: Scene) -> None:
    row, loop = scene.row, asyncio.get_running_loop()
    if row["situation"] not in ("away", "faulted"):
        await scene.client.list_controls(CAMERA)  # opens it, and connects
    if row["doing"] in ("delete", "download"):
        scene.capture_id = (await scene.other.capture(CAMERA, fetch=False)).capture.capture_id
    await HAPPENS[row["situation"]](scene)
    call = scene.start(CALLED[row["doing"]](scene))
    started = loop.time()
    if row["situation"] == "cancelled":
        await asyncio.sleep(SOON_S)
        started = loop.time()
        call.cancel()
    await asyncio.wait([call], timeout=60)
    took_s = loop.time() - started
    assert call.done()
    if row.get("result"):
        result = call.result()
        if row["doing"] == "capture":
            assert result.data
        if "presses" in row:
            assert exposures(result.capture) == row["presses"]
        scene.check_time(took_s)
        return
    error = call.exception() if not call.cancelled() else asyncio.CancelledError()
    check_error(row, error)
    scene.check_time(took_s)
    if row.get("again"):
        assert isinstance(error, CamsvcError)
        assert error.request_id
        scene.rig.thaw()
        picture = await scene.client.capture(CAMERA, timeout=30, request_id=error.request_id)
        assert exposures(picture.capture) == 1


def check_error(row: Row, error: BaseException | None) -> None:
    name = TABLE["errors"][row["error"]]["python"]
    kind = asyncio.CancelledError if "." in name else getattr(camsvc_client, name)
    assert type(error) is kind, error
    assert re.search(row.get("message", ""), str(error))
    if isinstance(error, camsvc_client.CameraBusy):
        assert error.holder.capture_id
    if isinstance(error, camsvc_client.CameraBusy | camsvc_client.CameraUnavailable):
        assert error.retry_after_s


# Streams.


async def show_live_view(scene: Scene, seen: Seen, opened: contextlib.AsyncExitStack) -> None:
    view = scene.client.live_view(CAMERA)
    opened.push_async_callback(view.close)
    async for item in view:
        seen.add("frame" if isinstance(item, Frame) else item.state.name)


async def show_events(scene: Scene, seen: Seen, opened: contextlib.AsyncExitStack) -> None:
    def on_connection(error: CamsvcError | None) -> None:
        seen.add("lost" if error else "back")

    events = scene.client.capture_events(after_sequence=0, on_connection=on_connection)
    opened.push_async_callback(events.close)
    async for event in events:
        seen.numbers.append(event.sequence)
        seen.add("event")


OPENED = {"live view": show_live_view, "events": show_events}


async def play_stream(scene: Scene) -> None:
    row, loop, seen = scene.row, asyncio.get_running_loop(), scene.seen
    wanted = list(row["sees"])
    async with contextlib.AsyncExitStack() as opened:
        if "event" in wanted:
            await scene.other.capture(CAMERA)
        began_before = row.get("at") != "beginning"
        if not began_before:
            await HAPPENS[row["situation"]](scene)
        happened_at = loop.time()
        reading = scene.start(OPENED[row["doing"]](scene, seen, opened))
        if began_before:
            await sees(seen, [wanted.pop(0)], reading)
            happened_at = loop.time()
            await HAPPENS[row["situation"]](scene)
        if row["situation"] == "frozen":
            await sees(seen, [wanted.pop(0)], reading, since=happened_at)
            scene.check_time(seen.labels[-1][0] - happened_at)
            scene.rig.thaw()
        if wanted and wanted[-1] == "event":
            scene.start(one_more_picture(scene))
        await sees(seen, wanted, reading, since=happened_at)
        if "error" in row:
            await asyncio.wait([reading], timeout=60)
            scene.check_time(loop.time() - happened_at)
            check_error(row, reading.exception())
            return
    await asyncio.wait_for(reading, 10)  # closed: it ends without an error
    assert not {label for _, label in seen.labels} & set(row.get("never", ()))
    assert seen.numbers == list(itertools.islice(itertools.count(1), len(seen.numbers)))


async def one_more_picture(scene: Scene) -> Picture:
    return await scene.other.capture(CAMERA, timeout=60)


async def sees(
    seen: Seen, wanted: list[str], reading: asyncio.Task[None], since: float = 0.0
) -> None:
    async def seen_all() -> bool:
        if reading.done() and not seen.has(wanted, since):
            reading.result()
        return seen.has(wanted, since)

    await until(seen_all, f"{wanted} in {seen.labels}", within_s=40)
