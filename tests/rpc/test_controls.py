"""Controls hold until they are set again, but those of a shot for that shot only."""

from typing import Any

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.conftest import StartService
from tests.support import plugins
from tests.support.scenes import camera, fault
from tests.support.service import CALL_S, Service
from tests.support.waiting import until


def gain(value: float) -> list[pb.ControlSetting]:
    return [pb.ControlSetting(name="gain", value=pb.ControlValue(double_value=value))]


def gain_of(settings: "list[pb.ControlSetting] | list[pb.Control]") -> float:
    return next(s.value.double_value for s in settings if s.name == "gain")


async def listed(service: Service) -> list[pb.Control]:
    request = api.ListControlsRequest(camera="sim0")
    return list((await service.stub.ListControls(request, timeout=CALL_S)).controls)


async def taken_with(service: Service, **fields: Any) -> float:
    return gain_of(list((await service.capture(**fields)).capture.controls))


async def test_a_shots_controls_hold_for_that_shot_only(start_service: StartService) -> None:
    service = await start_service(camera())
    assert await taken_with(service, controls=gain(3)) == 3
    assert gain_of(await listed(service)) == 1
    assert await taken_with(service) == 1


@pytest.mark.parametrize("kind", ["error", "crash"])
async def test_controls_that_were_set_hold_also_after_a_recovery(
    start_service: StartService, kind: str
) -> None:
    service = await start_service(camera(faults=[fault(kind, at=2)]))
    request = api.SetControlsRequest(camera="sim0", controls=gain(4))
    answered = await service.stub.SetControls(request, timeout=CALL_S)
    assert gain_of(list(answered.controls)) == 4
    assert [await taken_with(service), await taken_with(service)] == [4, 4]


async def test_a_shots_controls_do_not_outlive_its_failed_attempt(
    start_service: StartService,
) -> None:
    service = await start_service(camera(faults=[fault("error", times=2)]))
    assert await taken_with(service, controls=gain(3)) == 3
    assert gain_of(await listed(service)) == 1


async def test_the_list_says_what_a_control_may_be_set_to(start_service: StartService) -> None:
    service = await start_service(camera(controls={"gain": 2.0}))
    by_name = {control.name: control for control in await listed(service)}
    control = by_name["gain"]
    assert control.value.double_value == 2, "the settings' own value"
    assert (control.range.minimum, control.range.maximum) == (1, 16)
    assert control.type == pb.Control.TYPE_DOUBLE
    assert control.access == pb.Control.ACCESS_READ_WRITE
    choices = [value.string_value for value in by_name["focus_mode"].allowed_values]
    assert choices == ["manual", "auto"]


async def test_a_control_that_is_not_taken_back_costs_no_picture(
    start_service: StartService,
) -> None:
    """The shutter is pressed once: the picture is as good as it would be otherwise."""
    service = await start_service(camera(driver="plugins:GovernedCamera", env=plugins.ENV))
    settings = [
        pb.ControlSetting(name="mode", value=pb.ControlValue(string_value="manual")),
        pb.ControlSetting(name="exposure_duration_us", value=pb.ControlValue(int_value=5000)),
    ]
    response = await service.capture(controls=settings)
    assert (response.capture.attempts, response.capture.recoveries) == (1, 0)
    listed = await service.stub.ListControls(api.ListControlsRequest(camera="sim0"), timeout=CALL_S)
    (mode, _) = listed.controls
    assert mode.value.string_value == "auto"

    async def logged() -> bool:
        return "exposure_duration_us was not restored" in service.log_text()

    await until(logged, "the log says so")
