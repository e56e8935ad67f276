"""A driver with a model of its settings, the one of CONTRIBUTING: as a plug-in, and built in."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from camapi.v1 import camera_pb2 as pb

from camsvc.config.errors import SettingsError
from camsvc.config.settings import Settings, load
from camsvc.ipc import messages as m
from camsvc.model.discovery import FoundDevice
from camsvc.model.options import Sandbox
from camsvc.model.registry import BUILTIN, BuiltIn
from camsvc.model.values import Device, Shot
from camsvc.worker_pool.process import WorkerProcess
from tests.conftest import StartService
from tests.support.stills import files_of

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
(TABLE,) = re.findall(r'```toml\n(.*?driver = "my_rig.*?)```', PAGE, re.DOTALL)
CALL_S = 20.0


@pytest.fixture(autouse=True)
def _my_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write the page's modules where this process, the service and its workers find them."""
    found = re.findall(r'```python\n("""(my_rig/\w+\.py): .*?)```', PAGE, re.DOTALL)
    assert len(found) == 2
    (tmp_path / "my_rig").mkdir()
    for text, name in found:
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_rig"]:
        del sys.modules[name]


def settings(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "camsvc.toml"
    path.write_text(text)
    return load(path)


def grey_of(png: bytes) -> int:
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return int(pixels[0, 0, 0])


@pytest.mark.parametrize(("options", "grey"), [("{ level = 200 }", 200), ("{}", 128)])
async def test_a_plug_in_gets_its_options_as_its_model_resolves_them(
    start_service: StartService, options: str, grey: int
) -> None:
    service = await start_service(TABLE.replace("{ level = 200 }", options))
    png = pb.ImageOptions(format=pb.ImageOptions.FORMAT_PNG)
    response = await service.capture("card", image=png)
    assert grey_of(response.image_data) == grey


def test_the_service_imports_the_model_and_not_the_driver(tmp_path: Path) -> None:
    assert settings(tmp_path, TABLE).cameras[0].driver_settings() == {"level": 200}
    assert "my_rig.settings" in sys.modules
    assert "my_rig.camera" not in sys.modules


@pytest.mark.parametrize(
    ("written", "instead", "told"),
    [
        (
            "level = 200",
            "level = 300",
            "options, key 'level': 300 is not allowed; allowed: a whole",
        ),
        ("level = 200", "levle = 1", "options, unknown key 'levle'; did you mean 'level'?"),
        ("{ level = 200 }", "3", "options, 3 is not a table"),
        ("my_rig.settings:", "my_rig.nowhere:", "key 'options_model': 'my_rig.nowhere:TestCardSet"),
        ("my_rig.settings:", "json:", "cannot be imported: AttributeError: module 'json'"),
        (
            ":TestCardSettings",
            ":Field",
            "is not a model; allowed: a camsvc.drivers.settings.Driver",
        ),
        ("my_rig.settings:TestCardSettings", "card", "key 'options_model': 'card' is not allowed"),
    ],
)
def test_wrong_options_are_said_as_wrong_keys_are(
    tmp_path: Path, written: str, instead: str, told: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, TABLE.replace(written, instead))
    (line,) = str(caught.value).splitlines()
    assert "camera 'card', " in line
    assert told in line


def test_what_is_discovered_is_pasted_with_the_model(tmp_path: Path) -> None:
    device = Device("port 1", "A card", settings={"level": 7})
    found = FoundDevice(
        "my_rig.camera:TestCard", device, "card", "my_rig.settings:TestCardSettings"
    )
    (camera,) = settings(tmp_path, found.settings_snippet).cameras
    assert camera.driver_settings() == {"level": 7}


async def test_one_registration_makes_a_driver_one_of_the_services_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = BuiltIn("my_rig.camera:TestCard", "my_rig.settings:TestCardSettings", sys.executable)
    monkeypatch.setitem(BUILTIN, "card", card)
    text = '[[cameras]]\nid = "card"\ndriver = "card"\n'
    (camera,) = settings(tmp_path, text).cameras
    assert camera.python == sys.executable
    worker = await WorkerProcess.start(camera.launch(Sandbox()))
    try:
        await worker.call(m.Open(camera.driver_settings(), {}, b""), CALL_S)
        answer = await worker.call(m.Capture(Shot(format="PNG")), CALL_S)
        assert grey_of(files_of(worker, answer)[0]) == 128
    finally:
        worker.kill("the test is over")
        await worker.wait_ended()
    with pytest.raises(SettingsError, match="unknown key 'levle'; did you mean 'level'"):
        settings(tmp_path, f"{text}levle = 3")
    with pytest.raises(SettingsError, match="picamera2, card, or the path"):
        settings(tmp_path, text.replace('driver = "card"', 'driver = "crad"'))
