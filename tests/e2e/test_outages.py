"""The page through stills, hangs, crashes and outages: it is never loaded anew."""

import asyncio
import re
from datetime import datetime

import pytest
from camsvc_client import AsyncCameraClient
from playwright.async_api import expect

from tests.conftest import StartService
from tests.e2e.backend import Backend
from tests.e2e.conftest import OpenPage, StartBackend, StartRig
from tests.e2e.page import CameraPage
from tests.support.ports import held_port
from tests.support.scenes import camera, fault
from tests.support.timing import timing
from tests.support.waiting import until

BACK_S = 3.0
"""How soon after the service is back the page must be live: its worker has to start, too."""


async def clock(page: CameraPage) -> datetime:
    """Return since when it says that its state is so."""
    return datetime.strptime((await page.state.inner_text())[-8:], "%H:%M:%S")


async def test_live_view_survives_three_pictures_in_a_row_on_one_socket(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(capture_duration_s=0.3))
    page = await open_page((await start_backend(service.address)).url)
    seen = await page.live()
    for count in (1, 2, 3):
        await page.shutter.click()
        await page.taken(count)
        now = await page.live()
        assert now > seen
        seen = now
        await expect(page.shutter).to_have_text("Take picture")
    await page.assert_same_document()
    assert page.sockets == 1


@pytest.mark.parametrize("kind", ["hang", "crash"])
async def test_live_view_survives_a_camera_that_hangs_or_crashes(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage, kind: str
) -> None:
    settings = camera(faults=[fault(kind, "read", at=60)], open_duration_s=0.7, attempt_timeout_s=2)
    service = await start_service(settings)
    page = await open_page((await start_backend(service.address)).url)
    seen = await page.live()
    await page.shows("Recovering since ")
    await expect(page.stage).to_have_attribute("data-picture", "old")
    await expect(page.detail).not_to_be_empty()
    assert await page.live() > seen
    await page.assert_same_document()


async def test_a_camera_that_is_unplugged_is_told_with_the_time_and_comes_back(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    settings = camera(faults=[fault("disconnect", "read", at=30)])
    service = await start_service(settings)
    url = (await start_backend(service.address)).url
    page = await open_page(url)
    await page.live()
    await page.shows("Recovering since ")
    late = await open_page(url)
    await late.shows("Recovering since ")

    async def alike() -> bool:
        early, later = [await clock(tab) for tab in (page, late)]
        return abs((later - early).total_seconds()) <= 1

    await until(alike, "who comes later is told the same time")
    await expect(late.tab.locator("#age")).to_have_text(
        re.compile(r"^No picture yet; the camera's last is \d s old$")
    )
    await page.live()
    await late.live()


@pytest.mark.timed
async def test_the_service_is_killed_and_started_again(
    start_rig: StartRig, start_backend: StartBackend, open_page: OpenPage
) -> None:
    rig = await start_rig(camera())
    backend = await start_backend(rig.address)
    page = await open_page(backend.url)
    await page.live()
    await page.shutter.click()
    await page.taken(1)

    await rig.kill()
    await page.shows("Camera service unreachable since ")
    await expect(page.stage).to_have_attribute("data-picture", "old")
    age = page.tab.locator("#age")
    await expect(age).to_have_text(re.compile(r"^Not live: picture of \S+, [2-9] s ago$"))
    await page.shutter.click()  # a press while it is away is not lost, and is one picture
    answer, late = await asyncio.gather(backend.call("/api/cameras"), open_page(backend.url))
    assert (answer.status, answer.json["reason"]) == (503, "SERVICE_UNREACHABLE")
    assert rig.address not in answer.data.decode()
    await late.shows("No cameras yet")
    await expect(late.detail).to_have_text(re.compile("cannot be reached"))
    await expect(page.note).to_have_text(
        "The camera service cannot be reached. It is tried again by itself."
    )

    await rig.start()
    with timing() as took:
        await page.live()
    took.assert_within(BACK_S)
    await page.taken(2)
    await late.live()
    await late.taken(2)
    await page.assert_same_document()
    await late.assert_same_document()
    async with AsyncCameraClient(rig.address) as client:
        # A try may have been given up before the shutter: that is listed too, as CANCELLED.
        taken = [capture async for capture in client.list_captures("sim0", states=["succeeded"])]
        assert len(taken) == 2


@pytest.mark.timed
async def test_a_frozen_service_is_noticed_and_its_picture_is_not_shown_as_live(
    start_rig: StartRig, start_backend: StartBackend, open_page: OpenPage
) -> None:
    rig = await start_rig(camera())
    page = await open_page((await start_backend(rig.address)).url)
    await page.live()
    rig.freeze()
    try:
        await expect(page.stage).to_have_attribute("data-picture", "old")
        with timing() as took:
            await page.shows("No new picture since ")
        took.assert_within(3)
        await page.shows("Camera service unreachable since ")
    finally:
        rig.thaw()
    await page.live()
    await page.assert_same_document()


async def test_the_backend_is_stopped_and_started_again(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(capture_duration_s=1.5))
    with held_port() as port:
        first = await start_backend(service.address, port=port)
        page = await open_page(first.url)
        await page.live()
        await page.shutter.click()
        await page.shows("Paused")
        assert await first.stop(within_s=2) == 0
        await page.shows("No connection since ")
        await expect(page.stage).to_have_attribute("data-picture", "old")
        second: Backend = await start_backend(service.address, port=port)
        assert second.url == first.url
        await page.live()
        await expect(page.note).to_have_text(re.compile("^Picture taken at "))
        await page.taken(1)
        await page.assert_same_document()


async def test_the_page_waits_for_a_service_that_is_not_there_yet(
    start_rig: StartRig, start_backend: StartBackend, open_page: OpenPage
) -> None:
    rig = await start_rig(camera("top"))
    await rig.stop()
    backend = await start_backend(rig.address)
    named, unnamed = await asyncio.gather(
        open_page(f"{backend.url}/?camera=top"), open_page(backend.url)
    )
    await named.shows("Camera service unreachable since ")
    await unnamed.shows("No cameras yet")
    await rig.start()
    await named.live()
    await unnamed.live()
    assert unnamed.tab.url.endswith("/?camera=top")


async def test_why_a_picture_cannot_be_shown_is_told(
    start_rig: StartRig, start_backend: StartBackend, open_page: OpenPage
) -> None:
    rig = await start_rig(camera())
    page = await open_page((await start_backend(rig.address)).url)
    await page.live()
    await page.shutter.click()
    await page.taken(1)
    await rig.kill()
    await page.tab.clock.install()
    await page.thumbnails.click()
    await page.explains("the camera service cannot be reached")


@pytest.mark.parametrize("ahead_s", [3600.0, 10.0, -10.0])
async def test_a_wrong_clock_makes_no_picture_old_and_no_old_one_live(
    start_rig: StartRig, start_backend: StartBackend, open_page: OpenPage, ahead_s: float
) -> None:
    """That of the backend's machine: ages come from the service."""
    rig = await start_rig(camera())
    page = await open_page((await start_backend(rig.address, ahead_s=ahead_s)).url)
    await page.live()
    await page.live()
    rig.freeze()
    await expect(page.stage).to_have_attribute("data-picture", "old")
    await expect(page.tab.locator("#age")).to_have_text(re.compile(r"^Not live: .*, \d s ago$"))
    rig.thaw()
    await page.live()
