"""The choice of a camera, the last pictures, and one of them in full."""

import hashlib
import re
from pathlib import Path

from camapi.v1 import camera_service_pb2 as api
from playwright.async_api import Route, expect

from tests.conftest import StartService
from tests.e2e.conftest import OpenPage, StartBackend
from tests.support.history import PNG, QUICK, REFERENCE
from tests.support.scenes import camera
from tests.support.service import CALL_S


async def test_the_last_ten_pictures_are_shown_the_newest_first_whoever_takes_them(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(**QUICK) + camera("sim1", **QUICK))
    taken = [await service.capture(delivery=REFERENCE) for _ in range(12)]
    url = (await start_backend(service.address)).url
    page, other = await open_page(url), await open_page(f"{url}/?camera=sim1")
    await page.live()
    await page.taken(10)
    await expect(other.tab.locator("#captures-note")).to_have_text("None yet.")

    async def shown() -> list[str]:
        found = await page.tab.locator("#captures img").evaluate_all("all => all.map(i => i.src)")
        return [re.findall("captures/([^/]+)/thumbnail", source)[0] for source in found]

    assert await shown() == [t.capture.capture_id for t in reversed(taken[2:])]
    newest = await service.capture(delivery=REFERENCE)
    first = page.tab.locator(f'#captures li:first-child img[src*="{newest.capture.capture_id}"]')
    await expect(first).to_be_visible()
    await page.taken(10)
    await service.capture("sim1", delivery=REFERENCE)
    await other.taken(1)
    await expect(page.thumbnails).to_have_count(10)


async def test_a_picture_is_shown_in_full_and_saved_whole(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage, tmp_path: Path
) -> None:
    service = await start_service(camera(width_px=1600, height_px=1200))
    jpeg = await service.capture()
    png = await service.capture(image=PNG)
    page = await open_page((await start_backend(service.address)).url)
    await page.taken(2)
    for place, response, ending in ((1, jpeg, "jpg"), (0, png, "png")):
        button = page.thumbnails.nth(place)
        await button.click()
        image = page.dialog.get_by_role("img")
        await expect(image).to_be_visible()
        await image.evaluate("image => image.decode()")
        assert await image.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [1600, 1200]
        await expect(page.dialog).to_contain_text("1600 × 1200")
        async with page.tab.expect_download() as saving:
            await page.dialog.get_by_role("link", name="Download").click()
        saved = await saving.value
        assert re.fullmatch(
            rf"sim0_\d{{4}}-\d\d-\d\dT[\d-]+_\S+\.{ending}", saved.suggested_filename
        )
        await saved.save_as(tmp_path / "saved")
        data = (tmp_path / "saved").read_bytes()
        assert hashlib.sha256(data).hexdigest() == response.capture.image.sha256
        await page.tab.keyboard.press("Escape")
        await expect(page.dialog).to_be_hidden()
        await expect(button).to_be_focused()


async def test_images_that_fail_at_first_are_loaded_again_and_lost_ones_are_explained(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera())
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    failures = 0

    async def fail_twice(route: Route) -> None:
        nonlocal failures
        failures += 1
        await (route.abort() if failures <= 2 else route.continue_())

    await page.tab.route("**/thumbnail*", fail_twice)
    taken = await service.capture()
    await page.taken(1)
    assert failures == 3

    request = api.DeleteCaptureRequest(capture_id=taken.capture.capture_id)
    await service.stub.DeleteCapture(request, timeout=CALL_S)
    await page.tab.clock.install()
    await page.thumbnails.click()
    await page.explains("it has been deleted")


async def test_the_camera_is_chosen_by_links_and_kept_in_the_address(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    settings = camera("top") + camera("side", width_px=640, height_px=480)
    service = await start_service(settings)
    url = (await start_backend(service.address)).url
    page = await open_page(url)
    await page.live()
    assert page.tab.url.endswith("/?camera=top")
    nav = page.tab.get_by_role("navigation", name="Cameras")
    await expect(nav.get_by_role("link")).to_have_text(["top", "side"])
    await expect(nav.locator("[aria-current=page]")).to_have_text("top")
    await nav.get_by_role("link", name="side").click()
    await page.live()
    assert page.tab.url.endswith("/?camera=side")
    await expect(page.tab.get_by_role("heading", name="side")).to_be_visible()
    await expect(page.tab).to_have_title("side · Cameras")
    await expect(page.tab.locator("#figures")).to_have_text(re.compile("^640 × 480"))
    await page.tab.reload()
    await page.live()
    assert page.tab.url.endswith("/?camera=side")
    await page.tab.go_back(wait_until="commit")  # it may come out of the browser's memory
    await page.live()
    await expect(nav.locator("[aria-current=page]")).to_have_text("top")
    for name, why in (("nix", "not configured"), ("%3Cb%3E", "is not a camera id")):
        await page.open(f"{url}/?camera={name}")
        await page.shows("No live view")
        await expect(page.detail).to_have_text(re.compile(why))
        await expect(nav.get_by_role("link")).to_have_text(["top", "side"])
