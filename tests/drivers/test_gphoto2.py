"""What the gphoto2 driver makes of the words of different makers, and of the system's devices.

The rest is tested on the virtual camera, in tests/rigs/gphoto2.
"""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import gphoto2 as gp
import numpy as np
import pytest

from camsvc.drivers.gphoto2 import connection, survey, usb
from camsvc.drivers.gphoto2.camera import GPhoto2Camera
from camsvc.drivers.gphoto2.controls import ControlTree
from camsvc.drivers.gphoto2.exposure import Exposure
from camsvc.drivers.gphoto2.formats import Formats
from camsvc.drivers.gphoto2.library import Disturbed
from camsvc.drivers.gphoto2.progress import Progress
from camsvc.drivers.gphoto2.shot import ReleasedShot, frame_of
from camsvc.drivers.gphoto2.survey import told_apart
from camsvc.drivers.gphoto2.transfer import Transfer
from camsvc.drivers.gphoto2.usb import Attached, Choice, held, resolve
from camsvc.ipc.messages import Open
from camsvc.model.errors import DeviceAway, DeviceInUse, DriverError, DriverFault
from camsvc.model.options import Launch
from camsvc.model.registry import BUILTIN
from camsvc.model.values import Device, File
from camsvc.worker_pool.process import WorkerProcess
from tests.rigs.gphoto2.control import Fault
from tests.rigs.gphoto2.rig import SERIALS, Rig
from tests.support.settings import resolved
from tests.support.timing import timing

NIKON = ["TIFF (RGB)", "JPEG Basic", "JPEG Fine", "NEF (Raw)", "NEF+Basic", "NEF+Fine"]
CANON = ["Large Fine JPEG", "Small Normal JPEG", "RAW + Large Fine JPEG", "cRAW", "RAW"]
CANON_R = ["HEIF", "L", "cL", "RAW + HEIF", "RAW + L", "RAW"]
SONY = ["RAW", "RAW+JPEG (Std)", "Extra Fine", "Fine", "Standard"]


class Settings:
    """A camera's setting of its image format, and the order in which it is set."""

    def __init__(self, choices: Sequence[str], value: str, **others: list[str]) -> None:
        self._choices = {"imageformat": list(choices)} | others
        self.set_to = [value]

    def choices(self, name: str) -> list[str]:
        return self._choices.get(name, [])

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
        (NIKON, "TIFF (RGB)", "JPEG", "JPEG Fine", 1),
        (CANON, "RAW", "JPEG", "Large Fine JPEG", 1),
        (CANON, "cRAW", "RAW", "cRAW", 1),
        (CANON, "RAW + Large Fine JPEG", "RAW", "RAW + Large Fine JPEG", 2),
        (CANON_R, "RAW", "JPEG", "L", 1),
        (CANON_R, "cL", "RAW", "RAW", 1),
        (CANON_R, "RAW + HEIF", "JPEG", "L", 1),
        (CANON_R, "RAW + HEIF", "RAW", "RAW + HEIF", 2),
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
    before, expected = formats.set_for(wanted)
    assert (settings.set_to[-1], expected) == (shot_with, files)
    formats.restore(before)
    assert settings.set_to[-1] == value
    assert len(settings.set_to) == (1 if shot_with == value else 3)


def test_a_camera_without_such_a_setting_makes_jpegs() -> None:
    formats = Formats(cast(ControlTree, Settings([], "")), "")
    assert formats.offered == ["JPEG", "PNG"]
    assert formats.set_for("JPEG") == ("", 1)
    formats.restore("")


def test_of_two_such_settings_the_one_that_knows_raw_files_is_taken() -> None:
    settings = Settings(["Large", "Small"], "Large", imagequality=["RAW", "Fine"])
    assert Formats(cast(ControlTree, settings), "").offered == ["JPEG", "PNG", "RAW"]


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


@pytest.mark.parametrize("left", [["auto"], []])
def test_an_exposure_that_the_camera_has_not_any_more_is_not_timed_either(left: list[str]) -> None:
    exposure = Exposure("shutterspeed", bulb=True)
    exposure.control(["Bulb", "30"], "30")
    exposure.choose(60_000_000)
    assert exposure.control(left, "auto") is None
    assert exposure.bulb_us == 0


# One shot.


def added(name: str) -> tuple[int, object]:
    return gp.GP_EVENT_FILE_ADDED, SimpleNamespace(folder="/", name=name)


COMPLETE = (gp.GP_EVENT_CAPTURE_COMPLETE, None)
FULL = (gp.GP_EVENT_UNKNOWN, "PTP Event 400a, Param1 00010001")
DISTURBED, BUSY = (gp.GP_ERROR_IO, None), (gp.GP_ERROR_CAMERA_BUSY, None)
CHANGED = (gp.GP_EVENT_UNKNOWN, "PTP Property d1d3 changed")


class Telling:
    """A camera that tells of its pictures at its own times, in seconds after it was made."""

    def __init__(self, *events: tuple[float, tuple[int, object]], chatty: bool = False) -> None:
        self._started = time.monotonic()
        self._events = list(events)
        self._chatty = chatty

    def trigger_capture(self, context: object) -> None:
        pass

    def wait_for_event(self, timeout_ms: int, context: object) -> tuple[int, object]:
        time.sleep(0.01)
        if self._events and time.monotonic() - self._started >= self._events[0][0]:
            event = self._events.pop(0)[1]
            if event in (DISTURBED, BUSY):
                raise gp.GPhoto2Error(event[0])
            return event
        return CHANGED if self._chatty else (gp.GP_EVENT_TIMEOUT, None)


def released(camera: Telling) -> ReleasedShot:
    controls = cast(ControlTree, SimpleNamespace(on_event=lambda event: None))
    taken = ReleasedShot(camera, controls, Progress(lambda percent: None), bound_s=6)
    taken.release(None)
    return taken


def shot(camera: Telling, expected: int) -> list[str]:
    """Return the names of a shot's files."""
    taken = released(camera)
    taken.wait(expected)
    return [name for _, name in taken.places]


def test_the_second_file_of_a_shot_is_waited_for_from_the_first_on() -> None:
    camera = Telling((0, COMPLETE), (1.9, added("a.cr2")), (2.3, added("a.jpg")))
    assert shot(camera, 2) == ["a.cr2", "a.jpg"]


@pytest.mark.timed
def test_a_camera_that_talks_of_other_things_has_ended_its_shot_all_the_same() -> None:
    with timing() as took:
        assert shot(Telling((0, added("a.jpg")), chatty=True), 1) == ["a.jpg"]
    took.assert_within(2)


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("A.TIF", "image/tiff"),
        ("A.tiff", "image/tiff"),
        ("A.HEIC", "image/heif"),
        ("A.HEIF", "image/heif"),
        ("A.HIF", "image/heif"),
    ],
)
def test_what_is_developed_is_no_raw_file(name: str, mime_type: str) -> None:
    files, failed = fetched(Keeping({name: [b"II*"], "A.XYZ": [b"raw"]}))
    assert [file.mime_type for file in files] == [mime_type, "application/octet-stream"]
    assert frame_of(files, failed, raw=True, acquired_ns=1, us=None).name == "A.XYZ"
    with pytest.raises(DriverError, match="no JPEG of the shot"):
        frame_of(files, failed, raw=False, acquired_ns=1, us=None)


def test_a_card_that_became_full_is_told_by_its_name() -> None:
    with pytest.raises(DriverError, match="its card is full .change or empty it"):
        released(Telling((0, FULL))).wait(1)
    assert shot(Telling((0, FULL), (0.3, added("a.jpg"))), 1) == ["a.jpg"], "the last that fits"


@pytest.mark.timed
def test_a_disturbance_while_a_picture_is_waited_for_is_waited_out() -> None:
    disturbed = [(0.1 * n, event) for n in range(4) for event in (DISTURBED, BUSY)]
    assert shot(Telling((0, added("a.nef")), *disturbed, (0.5, added("a.jpg"))), 2) == [
        "a.nef",
        "a.jpg",
    ]
    with timing() as took, pytest.raises(Disturbed):
        released(Telling(*[(0, DISTURBED)] * 999)).wait(1)
    took.assert_within(3)


class Keeping:
    """A camera with files: what each try to fetch one gives, the last for ever; bytes or a code.

    It announces the sizes that the last have, or those of `announced`. `renewed` counts new
    connections to it.
    """

    def __init__(self, files: dict[str, list[bytes | int]], **announced: int) -> None:
        self.files = files
        self._announced = announced
        self.renewed = 0
        self.gets = 0

    camera = property(lambda self: self)

    def renew(self, error: DriverError) -> None:
        self.renewed += 1

    def file_get_info(self, folder: str, name: str, context: object) -> object:
        last = self.files[name][-1]
        size = self._announced.get(
            name.partition(".")[2], len(last) if isinstance(last, bytes) else 9
        )
        return SimpleNamespace(file=SimpleNamespace(fields=gp.GP_FILE_INFO_SIZE, size=size))

    def file_get(self, folder: str, name: str, kind: int, *context: object) -> object:
        self.gets += 1
        given = self.files[name]
        data = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(data, int):
            raise gp.GPhoto2Error(data)
        return SimpleNamespace(get_data_and_size=lambda: data)


def fetched(camera: Keeping) -> tuple[list[File], dict[str, DriverError | DriverFault]]:
    transfer = Transfer(camera, Progress(lambda percent: None), again_s=0.8)
    return transfer.files([("/", name) for name in camera.files]), transfer.failed


JPEG_FILE = cv2.imencode(".jpg", np.full((8, 8, 3), 77, np.uint8))[1].tobytes()
NEF_FILE = b"II*\0" + bytes(100)
IO_ERROR = gp.GP_ERROR_IO


@pytest.mark.parametrize("odd", [b"", JPEG_FILE[:20], b"<html>", bytes(len(JPEG_FILE)), IO_ERROR])
def test_a_file_that_does_not_come_whole_is_fetched_again(odd: bytes | int) -> None:
    camera = Keeping({"a.nef": [odd, NEF_FILE], "a.jpg": [odd, odd, JPEG_FILE]})
    files, failed = fetched(camera)
    assert [file.data for file in files] == [NEF_FILE, JPEG_FILE]
    assert [file.announced_bytes for file in files] == [len(NEF_FILE), len(JPEG_FILE)]
    assert not failed


@pytest.mark.parametrize("odd", [b"", NEF_FILE[:50], b" <!DOCTYPE html>", bytes(104), IO_ERROR])
def test_one_that_never_comes_whole_costs_no_other(odd: bytes | int) -> None:
    camera = Keeping({"a.nef": [odd], "a.jpg": [JPEG_FILE]}, nef=len(NEF_FILE))
    files, failed = fetched(camera)
    frame = frame_of(files, failed, raw=False, acquired_ns=1, us=None)
    assert (frame.name, frame.encoded) == ("a.jpg", JPEG_FILE)
    (warning,) = frame.warnings
    assert "'a.nef'" in warning
    with pytest.raises(DriverError, match="corrupt picture|disturbed"):
        frame_of(files, failed, raw=True, acquired_ns=1, us=None)
    assert camera.renewed, "a new connection was tried"


def test_a_whole_jpeg_of_another_size_than_was_announced_is_kept() -> None:
    """Cameras announce wrong sizes, such as 4 GB."""
    for size in (7_000, 4_394_586_240, 0):
        (file,), failed = fetched(Keeping({"a.jpg": [JPEG_FILE]}, jpg=size))
        assert (file.data, file.announced_bytes, failed) == (JPEG_FILE, None, {})


@pytest.mark.timed
def test_files_are_fetched_again_for_a_bounded_time_in_all() -> None:
    camera = Keeping({name: [IO_ERROR] for name in ("a.jpg", "b.jpg", "c.jpg")})
    with timing() as took:
        files, failed = fetched(camera)
    took.assert_within(1.5)
    assert (files, len(failed)) == ([], 3)


def test_progress_only_grows_and_begins_with_an_exposure_that_is_timed() -> None:
    told: list[int] = []
    progress = Progress(told.append)
    for part in (0, 0.5, 1):
        progress.exposed(part)
    progress.fetching()
    for part in (0, 0.5, 0.2, 1, 1.2):
        progress.fetched(part)
    assert told == [25, 50, 75, 100]


# Which camera.


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a system's folder with one camera in it, and a hub that has no serial number."""
    for name, device, serial in (("1-1", 1, ""), ("1-1.2", 7, "000006001234\n")):
        folder = tmp_path / "devices" / name
        folder.mkdir(parents=True)
        (folder / "busnum").write_text("1\n")
        (folder / "devnum").write_text(f"{device}\n")
        if serial:
            (folder / "serial").write_text(serial)
    (tmp_path / "devices" / "1-1:1.0").mkdir()
    monkeypatch.setattr(usb, "_USB_DEVICES", tmp_path / "devices")
    monkeypatch.setattr(usb, "_USB_NODES", tmp_path / "nodes")
    return tmp_path


@pytest.mark.parametrize(
    ("port", "serial"),
    [("usb:001,007", "000006001234"), ("usb:001,001", ""), ("usb:002,007", ""), ("ptpip:", "")],
)
def test_the_system_knows_a_serial_number_without_opening_the_camera(
    system: Path, port: str, serial: str
) -> None:
    assert usb.system_serial(port) == serial


def test_who_holds_a_camera_is_named(system: Path) -> None:
    node = system / "nodes" / "001" / "007"
    node.parent.mkdir(parents=True)
    with node.open("w") as file, subprocess.Popen(["sleep", "60"], stdout=file) as other:
        assert f"sleep (pid {other.pid})" in held("usb:001,007")
        other.kill()
    assert "pid" not in held("usb:001,007")


def test_a_camera_that_this_user_may_not_use_is_told_as_such(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Attached("Nikon DSC D750", "usb:001,007")
    monkeypatch.setattr(usb, "attached", lambda: [camera])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root
    assert all(finding.ok for finding in survey.findings(Choice())), "there is no such node"
    node = system / "nodes" / "001" / "007"
    node.parent.mkdir(parents=True)
    node.touch()
    (wrong,) = [finding for finding in survey.findings(Choice()) if not finding.ok]
    assert "may not use the camera: add it to the group `plugdev`" in wrong.text
    monkeypatch.setattr(usb, "attached", lambda: [camera])
    with pytest.raises(DeviceAway) as refused:
        connection.connect(Choice())
    assert str(refused.value) == wrong.text


def test_what_else_has_the_folders_of_a_camera_is_none(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = gp.CameraList()
    listed.append("Mass Storage Camera", "disk:/media/card")
    listed.append("Canon EOS R5", "usb:001,007")
    monkeypatch.setattr(gp, "Camera", SimpleNamespace(autodetect=lambda: listed))
    assert usb.attached() == [Attached("Canon EOS R5", "usb:001,007", "000006001234")]


ONE = Attached("Canon EOS R5", "usb:001,004")
TWO = Attached("Canon EOS R5", "usb:001,005")
NIKON_D750 = Attached("Nikon DSC D750", "usb:001,006", "000006001234")
ALL = [ONE, TWO, NIKON_D750]


@pytest.mark.parametrize(
    ("choice", "certain", "possible"),
    [
        (Choice(serial="6001234"), NIKON_D750, []),
        (Choice(model="d750"), NIKON_D750, []),
        (Choice(model="d750", serial="77"), None, [NIKON_D750]),
        (Choice(port=TWO.port), TWO, []),
        (Choice(serial="77", port=TWO.port), None, [TWO]),
        (Choice(serial="77"), None, ALL),
        (Choice(model="EOS"), None, [ONE, TWO]),
        (Choice(), None, ALL),
        (Choice(model="D850"), None, []),
        (Choice("D750", "", TWO.port), None, []),
    ],
    ids=str,
)
def test_which_cameras_are_meant(
    choice: Choice, certain: Attached | None, possible: list[Attached]
) -> None:
    """A serial number of the USB confirms; it may be none or another one than on the body."""
    assert resolve(choice, ALL) == (certain, possible)


class Body:
    """An open camera that tells serial numbers under libgphoto2's names for them."""

    def __init__(self, **serials: str) -> None:
        self._serials = serials
        self.open = True

    def get_single_config(self, name: str) -> object:
        if name not in self._serials:
            raise gp.GPhoto2Error(gp.GP_ERROR_BAD_PARAMETERS)
        return SimpleNamespace(get_value=lambda: self._serials[name])

    def exit(self) -> None:
        self.open = False


def attach(monkeypatch: pytest.MonkeyPatch, cameras: dict[Attached, Body | DriverError]) -> None:
    def open_one(each: Attached) -> Body:
        camera = cameras[each]
        if isinstance(camera, DriverError):
            raise camera
        return camera

    monkeypatch.setattr(connection, "_serials", {})
    monkeypatch.setattr(usb, "attached", lambda: list(cameras))
    monkeypatch.setattr(connection, "_opened", open_one)


@asynccontextmanager
async def working(rig: Rig) -> AsyncIterator[WorkerProcess]:
    """Give a worker process, in which the library has seen no other rig."""
    worker = await WorkerProcess.start(Launch.of(BUILTIN["gphoto2"].driver, None, rig.env))
    yield worker
    worker.kill("the test is over")
    await worker.wait_ended()


async def opened(
    worker: WorkerProcess, settings: Mapping[str, object], state: bytes = b""
) -> bytes:
    """Open a camera; return what is to be handed to the next worker."""
    with suppress(DriverError):
        await worker.call(Open(resolved("gphoto2", **settings), {}, state), 10)
    return worker.driver_state


async def test_what_a_worker_knew_of_its_camera_helps_the_next_to_mend_it(
    gphoto2_rig: Rig,
) -> None:
    """Of two cameras that look alike, the one that it had at that port may be reset."""
    rig, settings = gphoto2_rig, {**gphoto2_rig.settings, "port": None, "serial": SERIALS[1]}
    async with working(rig) as worker:
        state = await opened(worker, settings)
    rig.control.fault = Fault.WEDGED
    for known, resets in ((b"", 0), (state, 1)):
        async with working(rig) as worker:
            await opened(worker, settings, known)
        assert rig.control.told("resets") == resets
    async with working(rig) as worker:
        assert rig.control.fault is Fault.NONE
        answer = await worker.call(Open(resolved("gphoto2", **settings), {}, state), 10)
    assert answer.device.serial == SERIALS[1]


async def test_a_camera_that_stays_disturbed_is_reset_now_and_then(gphoto2_rig: Rig) -> None:
    gphoto2_rig.control.fault = Fault.IO_ERROR
    state = b""
    async with working(gphoto2_rig) as worker:
        for _ in range(11):
            state = await opened(worker, gphoto2_rig.settings, state)
    resets = gphoto2_rig.control.told("resets")
    assert resets == 3, "at the first, the sixth and the eleventh opening"


NUMBER, HASH = "022021000123", "6a1b0d9e7c5f4a3b8d2e1f0a9b8c7d6e"
OPEN = {"serialnumber": HASH, "eosserialnumber": NUMBER}


@pytest.mark.parametrize("serial", [NUMBER, NUMBER.lstrip("0"), HASH])
def test_a_camera_that_does_not_open_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, serial: str
) -> None:
    """Of two of unknown serial number, the one that is open in its own worker may come first."""
    right = Body(**OPEN)
    attach(monkeypatch, {ONE: DeviceInUse("another program has the camera"), TWO: right})
    camera, what = connection.connect(Choice(serial=serial))
    assert (camera, what) == (right, replace(TWO, serial=NUMBER))


def test_why_a_camera_does_not_open_is_told_where_no_other_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = Body(serialnumber="78")
    failed = [DeviceInUse("the first"), Disturbed("the second")]
    attach(monkeypatch, {ONE: failed[0], NIKON_D750: wrong, TWO: failed[1]})
    with pytest.raises(DeviceInUse, match="the first"):
        connection.connect(Choice(serial="77"))
    assert not wrong.open
    attach(monkeypatch, {NIKON_D750: wrong})
    with pytest.raises(DeviceAway, match="no camera has the serial number '77'.*attached: 78"):
        connection.connect(Choice(serial="77"))


def test_a_camera_that_is_another_is_opened_once_to_know_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one that is meant may be away for long, and is looked for each second."""
    cameras: dict[Attached, Body | DriverError] = {ONE: Body(serialnumber="78")}
    attach(monkeypatch, cameras)
    for _ in range(2):
        with pytest.raises(DeviceAway, match="attached: 78"):
            connection.connect(Choice(serial="77"))
        cameras[ONE] = DriverError("it was opened again")
    right = cameras[TWO] = Body(serialnumber="77")
    assert connection.connect(Choice(serial="77"))[0] is right


def test_a_serial_number_is_that_of_the_usb_or_that_of_the_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They differ, with Sony's for example; what `camsvc discover` prints is the USB's."""
    camera = Attached("Sony Alpha-A7 III", "usb:001,006", serial="D0C5110CA46D")
    ((_, discovered),) = told_apart([camera])
    for choice in (discovered, Choice(serial="3282913003623147")):
        body = Body(serialnumber="00000000000000003282913003623147")
        attach(monkeypatch, {camera: body})
        assert connection.connect(choice)[0] is body


@pytest.mark.parametrize(
    ("choice", "ports"),
    [
        (Choice(serial="77"), []),
        (Choice(model="EOS", serial="77"), []),
        (Choice(model="EOS"), []),
        (Choice(model="D750", serial="77"), [NIKON_D750.port]),
        (Choice(serial="6001234"), [NIKON_D750.port]),
    ],
    ids=str,
)
def test_no_port_is_reset_that_may_be_another_cameras(
    monkeypatch: pytest.MonkeyPatch, choice: Choice, ports: list[str]
) -> None:
    reset: list[str] = []
    monkeypatch.setattr(usb, "attached", lambda: ALL)
    monkeypatch.setattr(connection, "reset", reset.append)
    connection.reset_selected(choice)
    assert reset == ports
    connection.reset_selected(choice, known=ONE.port)
    assert reset[len(ports) :] == (ports or [ONE.port])


@pytest.mark.parametrize("choice", [Choice(model="D850"), Choice(model="EOS")], ids=str)
def test_what_is_wrong_is_said_once_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, choice: Choice
) -> None:
    """The doctor leaves out what opening the camera says in the same words."""
    monkeypatch.setattr(usb, "attached", lambda: ALL)
    (wrong,) = [finding for finding in survey.findings(choice) if not finding.ok]
    with pytest.raises((DeviceAway, DriverFault)) as refused:
        connection.connect(choice)
    assert str(refused.value) == wrong.text
    assert "switch it on" in wrong.text or "camsvc discover" in wrong.text


def test_that_only_opening_tells_two_cameras_apart_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb, "attached", lambda: [ONE, TWO])
    last = survey.findings(Choice(serial="77"))[-1]
    assert last.ok
    assert "by opening" in last.text
    assert ONE.port in last.text
    assert TWO.port in last.text


@pytest.mark.parametrize(
    ("settings", "configured"),
    [
        ({"serial": "6001234"}, [NIKON_D750]),
        ({"serial": "77"}, []),
        ({"model": "EOS", "serial": "77"}, []),
        ({"port": TWO.port}, [TWO]),
        ({"port": TWO.port, "serial": "77"}, [TWO]),
        ({"model": "EOS"}, []),
        ({"model": "D750"}, [NIKON_D750]),
    ],
)
def test_a_device_is_configured_as_a_camera_that_certainly_means_it(
    settings: dict[str, str], configured: list[Attached]
) -> None:
    found = [
        Device(camera.port, camera.model, camera.model, camera.serial, dict(choice.given))
        for camera, choice in told_apart(ALL)
    ]
    table = resolved("gphoto2", **settings)
    selected = [device.address for device in found if GPhoto2Camera.selects(table, device)]
    assert selected == [camera.port for camera in configured]


def test_the_only_camera_of_its_model_may_be_the_one_of_a_serial_number() -> None:
    device = Device(ONE.port, ONE.model, ONE.model, "", {"model": ONE.model})
    assert GPhoto2Camera.selects(resolved("gphoto2", serial="77"), device)


def test_cameras_are_told_apart_by_what_outlives_a_plugging_in() -> None:
    one, two = Attached("A", "usb:001,001"), Attached("A", "usb:001,002")
    other, known = Attached("B", "usb:001,003"), Attached("A", "usb:001,004", "77")
    chosen = dict(told_apart([one, two, other, known]))
    assert chosen[one] == Choice(model="A", port=one.port)
    assert chosen[other] == Choice(model="B")
    assert chosen[known] == Choice(serial="77")


def test_without_the_library_a_driver_says_how_to_get_it() -> None:
    path = BUILTIN["gphoto2"].driver
    code = (
        "import sys; sys.modules['gphoto2'] = None; "
        f"from camsvc.worker.load import load_driver; print(load_driver({path!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert "pip install 'camsvc[gphoto2]'" in done.stdout
