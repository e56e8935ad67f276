"""What a camera says is shown by camctl as text: no escape is obeyed, no line is forged."""

from pathlib import Path

import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client.camctl.plain import plain

from tests.clients.python.command import Camctl
from tests.clients.python.fake import Context, served

EVIL = "[red]x[/] \\[b]\x1b[2J\x1b]0;t\x07\x1b]8;;http://e\x1b\\\nok\r\x9b31m\u202egnp\u2066."
SHOWN = r"[red]x[/] \[b]\x1b[2J\x1b]0;t\x07\x1b]8;;http://e\x1b\\nok\r\x9b31m\u202egnp\u2066."
CAMERA = pb.Camera(
    camera="cam",
    driver=EVIL,
    model=EVIL,
    state=pb.Camera.STATE_FAULTED,
    warnings=[EVIL],
    details={EVIL: EVIL},
)
CONTROL = pb.Control(
    name=EVIL, unit=EVIL, description=EVIL, value=pb.ControlValue(string_value=EVIL)
)
CAPTURE = pb.Capture(
    capture_id=EVIL,
    camera=EVIL,
    state=pb.Capture.STATE_SUCCEEDED,
    warnings=[EVIL],
    labels={"key": EVIL},
)
CAMERA.fault.message = EVIL
DEVICE = pb.Device(driver=EVIL, address=EVIL, serial=EVIL, name=EVIL, settings_snippet=EVIL)


async def cameras(_: object, __: Context) -> api.ListCamerasResponse:
    return api.ListCamerasResponse(cameras=[CAMERA])


async def camera(_: object, __: Context) -> api.GetCameraResponse:
    return api.GetCameraResponse(camera=CAMERA)


async def controls(_: object, __: Context) -> api.ListControlsResponse:
    return api.ListControlsResponse(controls=[CONTROL])


async def captures(_: object, __: Context) -> api.ListCapturesResponse:
    return api.ListCapturesResponse(captures=[CAPTURE])


async def devices(_: object, __: Context) -> api.DiscoverCamerasResponse:
    return api.DiscoverCamerasResponse(devices=[DEVICE])


COMMANDS = ["list", "show cam", "controls cam", "history", "discover", "show cam --json"]


@pytest.mark.parametrize("command", COMMANDS)
async def test_escapes_and_markup_of_a_camera_are_shown(tmp_path: Path, command: str) -> None:
    async with served(
        ListCameras=cameras,
        GetCamera=camera,
        ListControls=controls,
        ListCaptures=captures,
        DiscoverCameras=devices,
    ) as address:
        said = await Camctl(tmp_path, address)(*command.split())
    assert said.code == 0, said
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err), said
    assert EVIL in texts(said.json) if command.endswith("--json") else SHOWN in said.out


def texts(value: object) -> list[str]:
    """Return all texts in a JSON document."""
    match value:
        case dict():
            return [text for pair in value.items() for each in pair for text in texts(each)]
        case list():
            return [text for each in value for text in texts(each)]
        case str():
            return [value]
    return []


def test_letters_of_all_languages_stay() -> None:
    for text in ("Kamera für Überblick", "カメラ 一", "caméra\u00a0: no 1", "كاميرا", "📷"):
        assert plain(text) == text
