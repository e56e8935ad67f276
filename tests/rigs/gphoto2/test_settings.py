"""Which camera is meant, what it is set to, and what it warns of."""

import time
from pathlib import Path

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.conftest import StartService
from tests.rigs.gphoto2.conftest import StartCamera, dslr
from tests.rigs.gphoto2.control import ABSENT, Fault, Value
from tests.rigs.gphoto2.rig import MODEL, PORTS, SERIALS, Rig
from tests.support.history import refusal
from tests.support.service import CALL_S, Service
from tests.support.timing import timing
from tests.support.waiting import until

pytestmark = pytest.mark.rig

DSLR = "dslr"
LOOK_S = 2.0
"""What it may take to look for a camera, that of another maker's library included."""

KNOWN_S = 10.0
"""How long a camera at a port is taken for the one that was opened there."""


async def controls(service: Service, camera: str = DSLR) -> dict[str, pb.Control]:
    answer = await service.stub.ListControls(api.ListControlsRequest(camera=camera), timeout=CALL_S)
    return {control.name: control for control in answer.controls}


async def put(service: Service, **values: str) -> dict[str, str]:
    """Set controls; return the texts of all."""
    settings = [
        pb.ControlSetting(name=name, value=pb.ControlValue(string_value=value))
        for name, value in values.items()
    ]
    request = api.SetControlsRequest(camera=DSLR, controls=settings)
    answer = await service.stub.SetControls(request, timeout=CALL_S)
    return {control.name: control.value.string_value for control in answer.controls}


async def put_exposure(service: Service, seconds: float) -> None:
    value = pb.ControlValue(int_value=round(seconds * 1e6))
    setting = pb.ControlSetting(name="exposure_duration_us", value=value)
    request = api.SetControlsRequest(camera=DSLR, controls=[setting])
    await service.stub.SetControls(request, timeout=CALL_S)


# Which camera.


@pytest.mark.parametrize(
    "chosen",
    [
        {"serial": SERIALS[1]},
        {"serial": SERIALS[1].lstrip("0")},
        {"port": PORTS[1]},
        {"model": "d750", "port": PORTS[1]},
    ],
)
async def test_a_camera_is_chosen_by_model_serial_or_port(
    start_camera: StartCamera, chosen: dict[str, str]
) -> None:
    service = await start_camera(**{"port": None, **chosen})
    assert (await controls(service))["serialnumber"].value.string_value == SERIALS[1]
    camera = (await service.camera(DSLR)).camera
    assert camera.model == MODEL
    assert camera.capabilities.live_view


async def test_two_cameras_each_by_its_own_serial_number(
    start_service: StartService, rig: Rig
) -> None:
    tables = [dslr(rig, f"dslr{n}", port=None, serial=serial) for n, serial in enumerate(SERIALS)]
    service = await start_service("".join(tables))
    for number, serial in enumerate(SERIALS):
        shown = await controls(service, f"dslr{number}")
        assert shown["serialnumber"].value.string_value == serial
        await service.capture(f"dslr{number}")


async def test_two_cameras_that_the_system_cannot_tell_apart_leave_each_other_alone(
    start_service: StartService, rig: Rig
) -> None:
    """The second is found by trying, beside the first, which its own worker has open."""
    tables = [dslr(rig, f"dslr{n}", port=None, serial=serial) for n, serial in enumerate(SERIALS)]
    service = await start_service("".join(tables))
    await service.capture("dslr0")
    for _ in range(2):
        capture = (await service.capture("dslr1", timeout=CALL_S)).capture
        assert (capture.attempts, capture.recoveries) == (1, 0)
        await service.stub.ResetCamera(api.ResetCameraRequest(camera="dslr1"), timeout=CALL_S)
    assert not (await service.camera("dslr0")).camera.statistics.recoveries


async def test_a_camera_is_found_again_at_the_port_where_another_was_meanwhile(
    start_camera: StartCamera, rig: Rig
) -> None:
    """What was read of the other is not taken for what is there now, for ever."""
    rig.control.cameras = 1
    service = await start_camera(port=None, serial=SERIALS[0])
    await service.capture(DSLR)
    for seen_empty in (True, False):
        rig.control.fault = Fault.UNPLUGGED
        await service.wait_for_state(pb.Camera.STATE_AWAY, DSLR)
        rig.control.ask(body=9)
        rig.control.fault = Fault.NONE

        async def looked_at() -> bool:
            return "attached: 000000600009" in (await service.camera(DSLR)).camera.fault.message

        await until(looked_at, "the other body was opened")
        if seen_empty:
            rig.control.cameras = 0

            async def empty() -> bool:
                return "attached: none" in (await service.camera(DSLR)).camera.fault.message

            await until(empty, "the port is empty")
        rig.control.ask(body=0)
        rig.control.cameras = 1
        with timing() as took:
            await service.wait_for_state(pb.Camera.STATE_READY, DSLR)
        took.assert_within(LOOK_S if seen_empty else KNOWN_S + LOOK_S)
        await service.capture(DSLR)


async def test_settings_that_fit_two_cameras_are_refused(start_camera: StartCamera) -> None:
    service = await start_camera(port=None, model="D750")
    info = await refusal(service.capture(DSLR))
    assert info.reason == "CAMERA_FAULTED"
    assert "select one by `serial`" in info.message
    for port in PORTS:
        assert port in info.message


@pytest.mark.parametrize("chosen", [{"model": "EOS R5"}, {"serial": "77"}, {"port": "usb:001,009"}])
async def test_a_camera_that_is_not_there_is_named_at_once(
    start_camera: StartCamera, rig: Rig, chosen: dict[str, str]
) -> None:
    service = await start_camera(**{"port": None, **chosen})
    with timing() as took:
        refused = await refusal(service.capture(DSLR))
    took.assert_within(LOOK_S)
    fault = (await service.camera(DSLR)).camera.fault
    for said in (refused.message, fault.message):
        assert next(iter(chosen.values())) in said
        assert "attached" in said


async def test_discovery_lists_what_is_attached_and_whose_it_is(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    await service.capture(DSLR)
    answer = await service.stub.DiscoverCameras(api.DiscoverCamerasRequest(), timeout=20)
    found = {d.address: d for d in answer.devices if d.driver == "gphoto2"}
    assert {port: device.camera for port, device in found.items()} == {PORTS[0]: DSLR, PORTS[1]: ""}
    assert found[PORTS[1]].model == MODEL
    for text in (
        'id = "gphoto2-0"',
        'driver = "gphoto2"',
        f'model = "{MODEL}"',
        f'port = "{PORTS[1]}"',
    ):
        assert text in found[PORTS[1]].settings_snippet, "two of a model differ by their ports"
    await service.capture(DSLR)


async def test_a_device_is_said_to_be_the_camera_that_certainly_means_it(
    start_service: StartService, rig: Rig
) -> None:
    """A serial number that is not on the USB may be any's; and wrong settings hide no other."""
    service = await start_service(
        dslr(rig, "dslr0", model="EOS", iolibs="/nowhere")
        + dslr(rig, "dslr1", port=None, serial=SERIALS[0])
        + dslr(rig, "dslr2", port=PORTS[1])
    )
    answer = await service.stub.DiscoverCameras(api.DiscoverCamerasRequest(), timeout=20)
    found = {d.address: d.camera for d in answer.devices if d.driver == "gphoto2"}
    assert found == {PORTS[0]: "", PORTS[1]: "dslr2"}


async def test_the_users_own_settings_of_the_library_are_neither_read_nor_written(
    start_camera: StartCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    service = await start_camera(capture_target="card")
    assert (await controls(service))["capturetarget"].value.string_value == "Memory card"
    await service.capture(DSLR)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"image_format": "Best"}, "which has: 'JPEG Basic', 'JPEG Normal', 'JPEG Fine'"),
        ({"iolibs": "/nowhere"}, "the settings' iolibs is not a folder"),
    ],
)
async def test_settings_that_cannot_be_fulfilled_are_a_fault(
    start_camera: StartCamera, setting: dict[str, str], says: str
) -> None:
    service = await start_camera(attempts=1, **setting)
    info = await refusal(service.capture(DSLR))
    assert info.reason == "CAMERA_FAULTED"
    assert says in info.message
    assert "/nowhere" not in info.message


# What it is set to.


async def test_controls_have_the_contracts_names_and_the_cameras_choices(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    shown = await controls(service)
    assert [v.string_value for v in shown["iso"].allowed_values] == [
        "100",
        "200",
        "400",
        "800",
        "1600",
    ]
    assert {"aperture", "white_balance", "focus_mode"} <= shown.keys()
    exposure = shown["exposure_duration_us"]
    assert (exposure.unit, exposure.value.int_value) == ("us", 10_000)
    assert (exposure.range.minimum, exposure.range.maximum) == (1000, 3600e6)
    assert shown["batterylevel"].access == pb.Control.ACCESS_READ


async def test_a_control_that_is_set_is_set_in_the_camera_and_again_after_a_loss(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera()
    assert (await put(service, iso="800"))["iso"] == "800"
    assert rig.control.value(Value.ISO) == 800
    taken = (await service.capture(DSLR)).capture.controls
    assert next(c.value.string_value for c in taken if c.name == "iso") == "800"
    rig.control.fault = Fault.UNPLUGGED
    await service.wait_for_state(pb.Camera.STATE_AWAY, DSLR)
    rig.control.turn(Value.ISO, 100)
    rig.control.fault = Fault.NONE
    await service.wait_for_state(pb.Camera.STATE_READY, DSLR)
    assert rig.control.value(Value.ISO) == 800


async def test_a_dial_that_is_turned_is_heard_of(start_camera: StartCamera, rig: Rig) -> None:
    service = await start_camera()
    assert (await controls(service))["iso"].value.string_value == "100"
    commands = rig.control.told("commands")
    assert (await controls(service))["iso"].value.string_value == "100"
    assert rig.control.told("commands") - commands <= 1, "the tree is not read again"
    rig.control.turn(Value.ISO, 400)

    async def heard() -> bool:
        return (await controls(service))["iso"].value.string_value == "400"

    await until(heard, "the control has its new value")


async def test_a_control_that_the_camera_has_not_at_present_costs_nothing_else(
    start_camera: StartCamera, rig: Rig
) -> None:
    """Turned to automatic, cameras take settings away; libgphoto2 then speaks of bad parameters."""
    service = await start_camera()
    await controls(service)
    rig.control.set(Value.ISO, ABSENT)
    setting = pb.ControlSetting(name="iso", value=pb.ControlValue(string_value="400"))
    request = api.SetControlsRequest(camera=DSLR, controls=[setting])
    info = await refusal(service.stub.SetControls(request, timeout=CALL_S))
    assert info.reason == "INVALID_REQUEST"

    async def hidden() -> bool:
        iso = (await controls(service))["iso"]
        return iso.access == pb.Control.ACCESS_READ and not iso.HasField("value")

    await until(hidden, "it cannot be set or read")
    assert (await service.capture(DSLR)).capture.recoveries == 0
    rig.control.set(Value.ISO, 200)

    async def back() -> bool:
        return (await controls(service))["iso"].value.string_value == "200"

    await until(back, "it is there again")
    assert not (await service.camera(DSLR)).camera.statistics.recoveries


async def test_an_exposure_that_the_camera_has_not_at_present_is_neither_shown_nor_timed(
    start_camera: StartCamera, rig: Rig
) -> None:
    """Its dial was turned from manual: what libgphoto2 tells of that has no name in it."""
    service = await start_camera()
    await put_exposure(service, seconds=60)
    rig.control.turn(Value.EXPOSURE, ABSENT)
    with timing() as took:
        capture = (await service.capture(DSLR)).capture
    took.assert_within(5)
    assert capture.recoveries == 0
    assert rig.control.told("bulb_ms") == 0
    exposure = (await controls(service))["exposure_duration_us"]
    assert exposure.access == pb.Control.ACCESS_READ
    assert not exposure.HasField("value")


@pytest.mark.parametrize(("autofocus", "focused"), [(None, 1), (True, 1), (False, 0)])
async def test_a_camera_focuses_before_a_still_unless_it_shall_not(
    start_camera: StartCamera, rig: Rig, autofocus: bool | None, focused: int
) -> None:
    """libgphoto2 says that it does, and has it not, until it was told so."""
    service = await start_camera(autofocus=autofocus)
    await service.capture(DSLR)
    assert rig.control.told("focused") == focused
    shown = (await controls(service))["autofocus"].value.string_value
    assert shown == ("Off" if autofocus is False else "On")


# What it warns of.


async def test_a_low_battery_and_a_full_card_are_warned_of(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera(capture_target="card")
    await service.capture(DSLR)

    async def warns_of(*texts: str) -> None:
        async def told() -> bool:
            return list((await service.camera(DSLR)).camera.warnings) == list(texts)

        await until(told, f"warnings {texts}")

    await warns_of()
    rig.control.turn(Value.BATTERY_PERCENT, 9)
    await warns_of("battery at 9 %")
    rig.control.free_mb = 50
    await service.capture(DSLR)
    await warns_of("battery at 9 %", "memory card nearly full: 50 MB free")
    rig.control.turn(Value.BATTERY_PERCENT, 90)
    rig.control.free_mb = 30_000
    await warns_of()


async def test_an_unused_camera_is_asked_little(start_camera: StartCamera, rig: Rig) -> None:
    """Its events are its own to tell; that costs no transfer of ours."""
    service = await start_camera()
    await service.capture(DSLR)
    before, started = rig.control.told("commands"), time.monotonic()

    async def later() -> bool:
        return time.monotonic() > started + 3

    await until(later, "3 s are over")
    assert rig.control.told("commands") - before <= 6
