"""Taking pictures from the page."""

import asyncio
import re
from typing import Any

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from playwright.async_api import expect

from tests.conftest import StartService
from tests.e2e.conftest import OpenPage, StartBackend
from tests.e2e.page import CameraPage
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

SLOW: dict[str, Any] = {"capture_duration_s": 1.5, "reports_progress": True}
TAKING = pb.Camera.STATE_CAPTURING


async def succeeded(service: Service) -> int:
    return (await service.camera()).camera.statistics.captures_succeeded


async def attempted(service: Service, camera_id: str = "sim0") -> int:
    """Count the exposures, as the camera itself does."""
    request = api.ListControlsRequest(camera=camera_id)
    controls = (await service.stub.ListControls(request, timeout=CALL_S)).controls
    return next(c.value.int_value for c in controls if c.name == "shutter_actuations")


async def kept(page: CameraPage) -> None:
    await expect(page.note).to_have_text(re.compile("^Picture taken at "), timeout=15_000)


async def test_five_rapid_clicks_take_one_picture(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    slow, quick = camera(capture_duration_s=1), camera("quick", capture_duration_s=0.01)
    service = await start_service(slow + quick)
    url = (await start_backend(service.address)).url
    for camera_id in ("sim0", "quick"):
        page = await open_page(f"{url}/?camera={camera_id}")
        await page.live()
        await page.shutter.click(click_count=5, delay=5)
        await expect(page.shutter).to_have_attribute("aria-disabled", "true")
        await kept(page)
        await expect(page.shutter).to_have_attribute("aria-disabled", "false")
        assert await attempted(service, camera_id) == 1
    await page.shutter.click()
    await page.taken(2)
    assert await attempted(service, "quick") == 2


async def test_presses_that_reach_the_backend_twice_take_one_picture(
    start_service: StartService, start_backend: StartBackend
) -> None:
    service = await start_service(camera(capture_duration_s=0.3))
    backend = await start_backend(service.address)
    press = {"requestId": "3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b"}
    path = "/api/cameras/sim0/captures"
    answers = await asyncio.gather(*(backend.call(path, "POST", press) for _ in range(5)))
    answers.append(await backend.call(path, "POST", press))
    assert len({answer.json["captureId"] for answer in answers}) == 1
    assert {answer.status for answer in answers} == {200, 201}
    assert await attempted(service) == 1


async def test_two_tabs_at_once_both_succeed_in_turn_and_the_second_is_told_so(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(**SLOW))
    url = (await start_backend(service.address)).url
    tabs = [await open_page(url), await open_page(url)]
    for tab in tabs:
        await tab.live()
    await asyncio.gather(*(tab.shutter.click() for tab in tabs))
    waiting = [
        tab.note.filter(has_text="busy with another picture. Yours is next.") for tab in tabs
    ]

    async def one_waits() -> bool:
        return sum([await note.count() for note in waiting]) == 1

    await until(one_waits, "one of the tabs is told that it waits")
    waits = tabs[0] if await waiting[0].count() else tabs[1]
    await expect(waits.shutter).to_have_text("Waiting…")
    await expect(waits.countdown).to_have_text(re.compile(r"^free in about \d s$"))
    await asyncio.gather(*(kept(tab) for tab in tabs))
    assert await succeeded(service) == 2
    for tab in tabs:
        await tab.taken(2)  # each shows the other's too
        await tab.live()


async def test_progress_is_shown_and_the_live_view_says_that_it_pauses(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(**SLOW))
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    await page.shutter.click()
    await page.shows("Paused: a still is being taken")
    await expect(page.stage).to_have_attribute("data-picture", "old")
    await expect(page.tab.locator("#age")).to_have_text(
        re.compile(r"^Not live: picture of \d\d:\d\d:\d\d, \d s ago$")
    )
    progress = page.tab.locator("#progress")
    seen = set[float]()

    async def moves() -> bool:
        seen.add(await progress.evaluate("bar => bar.position"))
        return len([position for position in seen if 0 < position < 1]) >= 2

    await until(moves, "the bar moves")
    await kept(page)
    await expect(progress).to_be_hidden()
    await page.live()


async def test_a_full_queue_is_counted_down_and_then_tried_again_by_itself(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(capture_duration_s=2.5, queue_limit=0))
    backend = await start_backend(service.address)
    page = await open_page(backend.url)
    await page.live()
    other = asyncio.ensure_future(service.capture())
    await service.wait_for_state(TAKING)
    await page.shutter.click()
    told = "The camera is busy with other pictures. It is tried again by itself."
    await expect(page.note).to_have_text(told)
    await expect(page.countdown).to_have_text(re.compile(r"^again in \d s$"))
    answer = await backend.call("/api/cameras/sim0/captures", "POST")
    assert (answer.status, answer.json["reason"]) == (429, "QUEUE_FULL")
    assert 0 < int(answer.headers["retry-after"]) <= 10
    assert answer.json["holder"]["captureId"]
    await other
    await kept(page)
    assert await succeeded(service) == 2


async def test_who_waits_can_cancel(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(capture_duration_s=2))
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    other = asyncio.ensure_future(service.capture())
    await service.wait_for_state(TAKING)
    await page.shutter.click()
    await page.tab.get_by_role("button", name="Cancel").click()
    await expect(page.note).to_have_text("Cancelled.")
    await expect(page.shutter).to_be_focused()
    await other
    await page.live()
    assert await attempted(service) == 1


async def test_a_camera_that_fails_is_told_in_words_and_the_page_goes_on(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    faults = [fault("permanent", "capture")]
    service = await start_service(camera(faults=faults))
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    await page.shutter.click()
    await expect(page.note).to_have_text(re.compile(r"^No picture: .*simulated permanent fault"))
    await page.shows("Offline since ")
    await expect(page.detail).to_have_text(re.compile("reset the camera"))
    await page.tab.get_by_role("button", name="Try again now").click()
    await page.live()
    await page.shutter.click()
    await kept(page)


async def test_a_failed_attempt_is_told_while_the_camera_is_brought_back(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    faults = [fault("hang", "capture")]
    service = await start_service(camera(faults=faults, attempt_timeout_s=2, capture_duration_s=1))
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    await page.shutter.click()
    await expect(page.note).to_have_text(re.compile("^That failed. The camera is brought back"))
    await kept(page)
    await page.live()
