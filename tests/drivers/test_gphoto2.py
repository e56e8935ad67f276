"""What the gphoto2 driver makes of the words of different makers, and of the system's devices.

The rest is tested on the virtual camera, in tests/rigs/gphoto2.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from camsvc.drivers.gphoto2 import attached, connection
from camsvc.drivers.gphoto2.attached import Attached, Choice, held, told_apart
from camsvc.drivers.gphoto2.controls import ControlTree
from camsvc.drivers.gphoto2.exposure import Exposure
from camsvc.drivers.gphoto2.formats import Formats
from camsvc.errors import DeviceAway

NIKON = ["JPEG Basic", "JPEG Normal", "JPEG Fine", "NEF (Raw)", "NEF+Basic", "NEF+Fine"]
CANON = ["Large Fine JPEG", "Small Normal JPEG", "RAW + Large Fine JPEG", "cRAW", "RAW"]
CANON_R = ["L", "cL", "RAW + L", "RAW"]
SONY = ["RAW", "RAW+JPEG (Std)", "Extra Fine", "Fine", "Standard"]


class Settings:
    """A camera's setting of its image format, and the order in which it is set."""

    def __init__(self, choices: Sequence[str], value: str) -> None:
        self._choices = list(choices)
        self.set_to = [value]

    def choices(self, name: str) -> list[str]:
        return self._choices if name == "imageformat" else []

    def value(self, name: str) -> str:
        return self.set_to[-1]

    def choose(self, name: str, choice: str) -> None:
        self.set_to.append(choice)


@pytest.mark.parametrize(
    ("choices", "value", "wanted", "shot_with", "files"),
    [
        (NIKON, "JPEG Basic", "JPEG", "JPEG Basic", 1),
        (NIKON, "JPEG Basic", "RAW", "NEF (Raw)", 1),
        (NIKON, "NEF+Basic", "JPEG", "NEF+Basic", 2),
        (NIKON, "NEF+Basic", "RAW", "NEF+Basic", 2),
        (NIKON, "NEF (Raw)", "PNG", "JPEG Fine", 1),
        (CANON, "RAW", "JPEG", "Large Fine JPEG", 1),
        (CANON, "cRAW", "RAW", "cRAW", 1),
        (CANON, "RAW + Large Fine JPEG", "RAW", "RAW + Large Fine JPEG", 2),
        (CANON_R, "RAW", "JPEG", "L", 1),
        (CANON_R, "cL", "RAW", "RAW", 1),
        (SONY, "RAW", "JPEG", "Extra Fine", 1),
        (SONY, "RAW+JPEG (Std)", "JPEG", "RAW+JPEG (Std)", 2),
        (SONY, "Standard", "RAW", "RAW", 1),
    ],
)
def test_a_format_is_set_for_the_shot_where_the_camera_is_not_set_to_it(
    choices: list[str], value: str, wanted: str, shot_with: str, files: int
) -> None:
    settings = Settings(choices, value)
    formats = Formats(cast(ControlTree, settings), "")
    assert formats.offered == ["JPEG", "PNG", "RAW"]
    with formats.set_for(wanted) as expected:
        assert (settings.set_to[-1], expected) == (shot_with, files)
    assert settings.set_to[-1] == value
    assert len(settings.set_to) == (1 if shot_with == value else 3)


def test_a_camera_without_such_a_setting_makes_jpegs() -> None:
    formats = Formats(cast(ControlTree, Settings([], "")), "")
    assert formats.offered == ["JPEG", "PNG"]
    with formats.set_for("JPEG") as expected:
        assert expected == 1


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1/250", 4000),
        ("1/1.3", 769231),
        ("30", 30_000_000),
        ("0.3", 300_000),
        ("0.0040s", 4000),
        ('1.3"', 1_300_000),
        ("1/8000", 125),
        ("Bulb", None),
        ("auto", None),
        ("x 200", None),
        ("Time", None),
    ],
)
def test_shutter_speeds_are_read_as_makers_write_them(text: str, microseconds: int | None) -> None:
    control = Exposure("shutterspeed", bulb=True).control([text, "1"], text)
    assert control is not None
    assert control.value == microseconds


def test_an_exposure_is_the_nearest_speed_and_beyond_the_slowest_bulb() -> None:
    speeds = ["Bulb", "30", "1", "1/2", "1/250"]
    exposure = Exposure("shutterspeed", bulb=True)
    control = exposure.control(speeds, "1")
    assert control is not None
    assert (control.minimum, control.maximum) == (4000, 3_600_000_000)
    for wanted_us, chosen in ((1, "1/250"), (480_000, "1/2"), (31_000_000, "30")):
        assert (exposure.choose(wanted_us), exposure.bulb_us) == (chosen, 0)
    assert (exposure.choose(90_000_000), exposure.bulb_us) == ("Bulb", 90_000_000)
    again = exposure.control(speeds, "Bulb")
    assert again is not None
    assert again.value == 90_000_000
    turned = exposure.control(speeds, "1/2")
    assert turned is not None
    assert (turned.value, exposure.bulb_us) == (500_000, 0)


def test_without_the_means_to_hold_the_shutter_open_there_is_no_bulb() -> None:
    exposure = Exposure("shutterspeed", bulb=False)
    control = exposure.control(["Bulb", "30", "1"], "1")
    assert control is not None
    assert control.maximum == 30_000_000
    assert exposure.choose(90_000_000) == "30"


@pytest.fixture
def usb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a system's folder with one camera in it, and a hub that has no serial number."""
    for name, device, serial in (("1-1", 1, ""), ("1-1.2", 7, "000006001234\n")):
        folder = tmp_path / "devices" / name
        folder.mkdir(parents=True)
        (folder / "busnum").write_text("1\n")
        (folder / "devnum").write_text(f"{device}\n")
        if serial:
            (folder / "serial").write_text(serial)
    (tmp_path / "devices" / "1-1:1.0").mkdir()
    monkeypatch.setattr(attached, "_USB_DEVICES", tmp_path / "devices")
    monkeypatch.setattr(attached, "_USB_NODES", tmp_path / "nodes")
    return tmp_path


@pytest.mark.parametrize(
    ("port", "serial"),
    [("usb:001,007", "000006001234"), ("usb:001,001", ""), ("usb:002,007", ""), ("ptpip:", "")],
)
def test_the_system_knows_a_serial_number_without_opening_the_camera(
    usb: Path, port: str, serial: str
) -> None:
    assert attached._system_serial(port) == serial


def test_who_holds_a_camera_is_named(usb: Path) -> None:
    node = usb / "nodes" / "001" / "007"
    node.parent.mkdir(parents=True)
    with node.open("w") as file, subprocess.Popen(["sleep", "60"], stdout=file) as other:
        assert f"sleep (pid {other.pid})" in held("usb:001,007")
        other.kill()
    assert "pid" not in held("usb:001,007")


def test_a_camera_that_this_user_may_not_use_is_told_as_such(
    usb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Attached("Nikon DSC D750", "usb:001,007")
    monkeypatch.setattr(attached, "attached", lambda: [camera])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root
    assert all(finding.ok for finding in attached.findings(Choice())), "there is no such node"
    node = usb / "nodes" / "001" / "007"
    node.parent.mkdir(parents=True)
    node.touch()
    (wrong,) = [finding for finding in attached.findings(Choice()) if not finding.ok]
    assert "may not use the camera" in wrong.text
    assert "plugdev" in wrong.advice
    monkeypatch.setattr(connection, "attached", lambda: [camera])
    with pytest.raises(DeviceAway, match="plugdev"):
        connection.connect(Choice())


def test_a_choice_allows_what_may_be_meant() -> None:
    camera = Attached("Nikon DSC D750", "usb:001,004", "000006001234")
    for choice in (
        Choice(),
        Choice(model="d750"),
        Choice(serial="6001234"),
        Choice(port=camera.port),
    ):
        assert choice.allows(camera)
    for choice in (Choice(model="d850"), Choice(serial="1"), Choice("D750", "", "usb:001,005")):
        assert not choice.allows(camera)
    assert Choice(serial="1").allows(Attached(camera.model, camera.port)), "only opening it tells"


def test_cameras_are_told_apart_by_what_outlives_a_plugging_in() -> None:
    one, two = Attached("A", "usb:001,001"), Attached("A", "usb:001,002")
    other, known = Attached("B", "usb:001,003"), Attached("A", "usb:001,004", "77")
    chosen = dict(told_apart([one, two, other, known]))
    assert chosen[one] == Choice(model="A", port=one.port)
    assert chosen[other] == Choice(model="B")
    assert chosen[known] == Choice(serial="77")
