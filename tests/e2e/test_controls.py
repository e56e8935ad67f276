"""The sliders, and what stands beside them."""

import asyncio
import re
from pathlib import Path

from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from playwright.async_api import Route, expect

from tests.conftest import StartService
from tests.e2e.conftest import OpenPage, StartBackend, StartRig
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.waiting import until

FUSSY = camera(
    driver="fussy_camera:FussyCamera", attempts=1, env={"PYTHONPATH": str(Path(__file__).parent)}
)


async def value(service: Service, name: str) -> object:
    """Return a control's value, as the service has it."""
    controls = await service.stub.ListControls(
        api.ListControlsRequest(camera="sim0"), timeout=CALL_S
    )
    found = next(control.value for control in controls.controls if control.name == name)
    return getattr(found, found.WhichOneof("kind") or "")


async def reaches(service: Service, name: str, wanted: object) -> None:
    async def reached() -> bool:
        return await value(service, name) == wanted

    await until(reached, f"{name} is {wanted}")


async def test_sliders_set_the_camera_and_show_its_units(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera())
    page = await open_page((await start_backend(service.address)).url)
    await page.live()

    focus = page.control("Focus")
    slider = focus.get_by_role("slider")
    await slider.fill("500")
    await reaches(service, "focus_distance_diopters", 7.5)
    await expect(focus.locator("output")).to_have_text("7.5 dpt (13 cm)")
    await expect(slider).to_have_attribute("aria-valuetext", "7.5 dpt (13 cm)")
    await slider.press("ArrowRight")
    await reaches(service, "focus_distance_diopters", 7.515)

    exposure = page.control("Exposure")
    await exposure.get_by_role("spinbutton").fill("20")
    await exposure.get_by_role("spinbutton").press("Enter")
    await reaches(service, "exposure_duration_us", 20_000)
    await expect(exposure.locator("output")).to_have_text("20 ms")
    await exposure.get_by_role("slider").fill("0")
    await reaches(service, "exposure_duration_us", 100)
    await expect(exposure.get_by_role("spinbutton")).to_have_value("0.1")

    await page.control("Gain").get_by_role("slider").fill("1000")
    await reaches(service, "gain", 16)
    await page.control("Focus mode").get_by_role("combobox").select_option("auto")
    await reaches(service, "focus_mode", "auto")
    await page.live()


async def test_a_slider_that_is_dragged_sends_no_more_than_the_camera_takes(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera())
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    sent = 0
    answered = asyncio.Event()

    async def hold(route: Route) -> None:
        nonlocal sent
        sent += 1
        await answered.wait()
        await route.continue_()

    await page.tab.route("**/controls", hold)
    slider = page.control("Gain").get_by_role("slider")
    for place in range(100, 1001, 100):
        await slider.fill(str(place))
    assert sent == 1, "the next is sent when the first has been answered"
    answered.set()
    await reaches(service, "gain", 16)
    assert sent <= 3


async def test_what_is_out_of_range_is_said_beside_the_control(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera())
    page = await open_page((await start_backend(service.address)).url)
    await page.live()
    exposure = page.control("Exposure")
    field = exposure.get_by_role("spinbutton")
    await field.fill("60000")
    await field.press("Tab")
    said = "60000 ms is out of range; allowed: at least 0.1 ms and at most 10000 ms."
    await expect(exposure.locator(".note")).to_have_text(said)
    await expect(field).to_have_value("10")
    assert await value(service, "exposure_duration_us") == 10_000
    await field.fill("30")
    await field.press("Tab")
    await reaches(service, "exposure_duration_us", 30_000)
    await expect(exposure.locator(".note")).to_be_empty()


async def test_what_the_camera_refuses_is_said_beside_the_control(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(FUSSY)
    page = await open_page((await start_backend(service.address)).url)
    await page.shows("Live")
    lamp = page.control("Lamp")
    await lamp.get_by_role("combobox").select_option("on")
    note = lamp.locator(".note")
    await expect(note).to_have_text(re.compile("lamp does not answer"), timeout=15_000)
    await lamp.get_by_role("combobox").blur()
    await expect(lamp.get_by_role("combobox")).to_have_value("off")


async def test_controls_of_every_kind_and_what_the_camera_makes_of_a_value(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(FUSSY)
    page = await open_page((await start_backend(service.address)).url)
    await page.shows("Live")
    focus = page.control("Focus")
    await focus.get_by_role("spinbutton").fill("8.2")
    await focus.get_by_role("spinbutton").press("Tab")
    note = focus.locator(".note")
    await expect(note).to_have_text("The camera has set focus to 8.25 dpt (12 cm).")
    await expect(focus.get_by_role("spinbutton")).to_have_value("8.25")
    assert await value(service, "focus_distance_diopters") == 8.25

    temperature = page.control("Sensor temperature")
    await expect(temperature.get_by_role("slider")).to_be_disabled()
    await expect(temperature.locator("output")).to_have_text("31.5")
    await page.control("Mirror image").get_by_role("checkbox").check()
    await reaches(service, "mirror_image", True)
    await page.control("Owner").get_by_role("textbox").fill("<b>Ada</b>")
    await page.control("Owner").get_by_role("textbox").press("Enter")
    await reaches(service, "owner", "<b>Ada</b>")


async def test_what_others_set_is_shown(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera())
    url = (await start_backend(service.address)).url
    tabs = [await open_page(url), await open_page(url)]
    for tab in tabs:
        await tab.live()
    setting = pb.ControlSetting(name="gain", value=pb.ControlValue(double_value=4))
    request = api.SetControlsRequest(camera="sim0", controls=[setting])
    await service.stub.SetControls(request, timeout=CALL_S)
    for tab in tabs:
        await expect(tab.control("Gain").get_by_role("spinbutton")).to_have_value("4")


async def test_a_control_that_is_set_while_the_service_is_away(
    start_rig: StartRig, start_backend: StartBackend, open_page: OpenPage
) -> None:
    rig = await start_rig(camera())
    page = await open_page((await start_backend(rig.address)).url)
    await page.live()
    await rig.kill()
    gain = page.control("Gain")
    await gain.get_by_role("slider").fill("1000")
    await expect(gain.locator(".note")).to_have_text("The camera service cannot be reached.")
    await expect(gain.get_by_role("spinbutton")).to_have_value("1")
