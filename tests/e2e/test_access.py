"""The page for everybody: on a phone, by keyboard, with a screen reader, in the dark, at rest."""

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.conftest import StartService
from tests.e2e.backend import FOLDER
from tests.e2e.conftest import OpenPage, StartBackend
from tests.e2e.page import CameraPage
from tests.support.scenes import camera, fault

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
AXE = FOLDER / "node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


async def violations(page: CameraPage) -> list[str]:
    """Return what axe finds wrong with the page as it is."""
    await page.tab.evaluate(AXE.read_text())
    found = await page.tab.evaluate("tags => axe.run({ runOnly: tags })", RULES)
    return [f"{v['id']}: {[node['html'] for node in v['nodes']]}" for v in found["violations"]]


async def overflow(page: CameraPage) -> int:
    return int(
        await page.tab.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
    )


@pytest.mark.parametrize(("scheme", "motion"), [("light", "no-preference"), ("dark", "reduce")])
async def test_axe_finds_nothing_wrong_in_any_state(
    start_service: StartService,
    start_backend: StartBackend,
    open_page: OpenPage,
    scheme: str,
    motion: str,
) -> None:
    service = await start_service(
        camera("top", capture_duration_s=1.5)
        + camera("broken", faults=[fault("permanent", "read", at=5)])
    )
    url = (await start_backend(service.address)).url
    page = await open_page(url, color_scheme=scheme, reduced_motion=motion)
    await page.live()
    moving = await page.tab.evaluate("document.getAnimations().length > 0")
    assert moving == (motion != "reduce")
    assert await violations(page) == []
    await page.shutter.click()
    await page.shows("Paused")
    assert await violations(page) == []
    await page.taken(1)
    await page.thumbnails.click()
    await expect(page.dialog.get_by_role("img")).to_be_visible()
    assert await violations(page) == []
    await page.tab.keyboard.press("Escape")
    field = page.control("Gain").get_by_role("spinbutton")
    await field.fill("99")
    await field.press("Tab")
    await expect(page.control("Gain").locator(".note")).not_to_be_empty()
    assert await violations(page) == []
    broken = await open_page(f"{url}/?camera=broken", color_scheme=scheme)
    await broken.shows("Offline")
    assert await violations(broken) == []


async def test_a_phone_shows_all_of_it_without_scrolling_sideways(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    cameras = "".join(camera(f"camera-with-a-long-name-{n}") for n in range(3))
    broken = camera("broken", faults=[fault("permanent", "read", at=5)])
    service = await start_service(camera("top", capture_duration_s=1.5) + cameras + broken)
    url = (await start_backend(service.address)).url
    page = await open_page(url, **PHONE)
    await page.live()
    assert await overflow(page) <= 0
    await page.shutter.tap()
    await page.shows("Paused")
    assert await overflow(page) <= 0
    await page.taken(1)
    assert await overflow(page) <= 0
    await page.thumbnails.tap()
    box = await page.dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    for button in await page.tab.get_by_role("button").all():
        size = await button.bounding_box()
        assert size is None or size["height"] >= 44, "large enough for a thumb"
    other = await open_page(f"{url}/?camera=broken", **PHONE)
    await other.shows("Offline")
    assert await overflow(other) <= 0


async def test_everything_is_done_by_keyboard_alone(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera("top", capture_duration_s=0.3) + camera("side"))
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    keyboard = page.tab.keyboard
    focused = page.tab.locator("*:focus")

    async def tab_to(name: str) -> None:
        for _ in range(20):
            await keyboard.press("Tab")
            if name in (await focused.evaluate("e => `${e.id} ${e.textContent} ${e.ariaLabel}`")):
                style = await focused.evaluate("e => getComputedStyle(e).outlineStyle")
                assert style == "solid", f"the focus on {name} is seen"
                return
        raise AssertionError(f"no way to {name}")

    await tab_to("shutter")
    await keyboard.press("Space")
    await page.taken(1)
    await expect(page.shutter).to_be_focused()
    await expect(page.shutter).to_have_attribute("aria-disabled", "false")
    await keyboard.press("Enter")
    await page.taken(2)
    await tab_to("Exposure")
    await keyboard.press("Shift+Tab")
    slider = page.control("Exposure").get_by_role("slider")
    await expect(slider).to_be_focused()
    await keyboard.press("End")
    await expect(slider).to_have_attribute("aria-valuetext", "10000 ms")
    await page.thumbnails.nth(1).focus()
    await keyboard.press("Enter")
    await expect(page.dialog).to_be_visible()
    await expect(page.dialog.get_by_role("button", name="Close")).to_be_focused()
    await keyboard.press("Escape")
    await expect(page.thumbnails.nth(1)).to_be_focused()
    await page.tab.get_by_role("link", name="side").focus()
    await keyboard.press("Enter")
    await page.live()
    assert page.tab.url.endswith("camera=side")


async def test_a_screen_reader_is_told_of_changes_and_not_of_every_second(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(capture_duration_s=2.5))
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    await page.tab.evaluate(
        """() => {
          window.told = [];
          for (const region of document.querySelectorAll('[role=status]'))
            new MutationObserver(() => told.push(region.textContent.trim().replace(/\\s+/g, ' ')))
              .observe(region, { childList: true, characterData: true, subtree: true });
        }"""
    )
    await page.shutter.click()
    await page.taken(1)
    await page.live()
    told = await page.tab.evaluate("told.filter(text => text !== '')")
    said = [re.sub(r"\d\d:\d\d:\d\d", "...", text) for text in told]
    assert said[0] == "Paused: a still is being taken"
    assert sorted(said[1:]) == ["Live", "Picture taken at ...."]
    image = page.tab.get_by_role("img", name="Live view of sim0")
    await expect(image).to_be_visible()
