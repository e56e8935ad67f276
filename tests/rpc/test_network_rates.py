"""Stills and live view of streams at all rates, with the default settings, all at the same time.

A normal run has the quick ones; with ENDURANCE=full one picture in ten seconds, too.
"""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack, ExitStack

import pytest

from tests.conftest import StartService
from tests.support.endurance import FULL, TIMEOUT_S, times
from tests.support.http_camera import (
    HttpCamera,
    Request,
    Script,
    Viewer,
    number_of,
    numbered,
    streaming,
)
from tests.support.live import Watcher
from tests.support.scenes import camera
from tests.support.service import Service

ON_ITS_WAY_S = 0.05


def snapshots(takes_s: float) -> Script:
    count = itertools.count()

    def script(_: Request, viewer: Viewer) -> None:
        viewer.pause(takes_s)
        viewer.picture(numbered(next(count)))

    return script


def bursts(pause_s: float) -> Script:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        for number in itertools.count():
            viewer.part(numbered(number))
            viewer.pause(0.03 if number % 20 else pause_s)

    return script


QUICK = {
    "fps-120": streaming(120),
    "fps-100": streaming(100, length=None),
    "fps-30": streaming(30, size=(640, 480)),
    "fps-5": streaming(5),
    "snapshots": snapshots(0.0),
}
SLOW = {
    "fps-1": streaming(1),
    "fps-0-2": streaming(0.2),
    "fps-0-1": streaming(0.1),
    "bursts": bursts(5.0),
    "snapshots-slow": snapshots(2.5),
}


async def stills(service: Service, name: str, served: HttpCamera) -> None:
    for _ in range(times(20)):
        asked = time.monotonic()
        response = await service.capture(name, timeout=None)
        found = number_of(response.image_data)
        assert found is not None
        assert served.sent[found] >= asked - ON_ITS_WAY_S, f"a still of {name} is old"


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("watched", [False, True])
async def test_each_still_is_fresh_and_no_stream_is_opened_again(
    start_service: StartService, watched: bool
) -> None:
    scripts = QUICK | (SLOW if FULL else {})
    with ExitStack() as cameras:
        served = {name: cameras.enter_context(HttpCamera(s)) for name, s in scripts.items()}
        tables = (camera(n, driver="opencv", source=c.url("/x")) for n, c in served.items())
        service = await start_service("".join(tables))
        async with AsyncExitStack() as viewers:
            watchers = [
                await viewers.enter_async_context(Watcher(service, name))
                for name in (served if watched else ())
            ]
            await asyncio.gather(*(stills(service, *item) for item in served.items()))
            assert all("RECOVERING" not in watcher.changes for watcher in watchers)
        for name, one in served.items():
            assert one.connections == 1, name
            shown = (await service.camera(name)).camera
            assert not [r for r in shown.statistics.recoveries if r.count], name
