"""The driver `v4l2` on a kernel's device: what it selects, what it reads back, what it notices."""

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from camsvc.drivers.base import DriverState
from camsvc.drivers.linux import video_nodes
from camsvc.drivers.linux.video_nodes import find
from camsvc.drivers.v4l2.camera import V4L2Camera
from camsvc.model.errors import DeviceAway, DriverError
from camsvc.model.values import DeviceInfo, Shot
from tests.rigs.v4l2.webcam import Webcam, until
from tests.support.settings import resolved

pytestmark = pytest.mark.rig

SIZE = "320x240"
AT_ONCE_S = 0.5


@contextlib.contextmanager
def camera(**settings: object) -> Iterator[tuple[V4L2Camera, DeviceInfo]]:
    given = {"width_px": 320, "height_px": 240, **settings}
    driver = V4L2Camera(resolved("v4l2", **given), DriverState())
    try:
        yield driver, driver.open()
    finally:
        driver.close()


@contextlib.contextmanager
def held(webcam: Webcam) -> Iterator[subprocess.Popen[str]]:
    """Let another program stream from the webcam."""
    program = [sys.executable, "-m", "tests.rigs.v4l2.holder", webcam.node]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        yield holder
        holder.kill()


def test_it_is_the_same_by_each_of_its_lasting_names(webcam: Webcam, neighbour: Webcam) -> None:
    """Whatever its number: it has another one when it is plugged in second."""
    webcam.unplug()
    neighbour.unplug()
    neighbour.plug()
    webcam.plug()
    assert webcam.node > neighbour.node
    links = Path("/dev/v4l/by-path").iterdir()
    by_path = next(str(link) for link in links if os.path.realpath(link) == webcam.node)
    number = int(webcam.node.removeprefix("/dev/video"))
    for selected in ({"serial": "A1"}, {"device": str(webcam.by_id)}, {"device": by_path},
                     {"device": webcam.node}, {"device": number}):  # fmt: skip
        with camera(**selected) as (_, info):
            assert (info.model, info.serial) == ("Rig Webcam", "A1")
        found = {device.serial: device for device in V4L2Camera.discover()}
        table = resolved("v4l2", **selected)
        assert V4L2Camera.selects(table, found["A1"])
        assert not V4L2Camera.selects(table, found["B1"])
    assert found["A1"].settings == {"serial": "A1"}


def test_formats_and_rates_are_listed_and_what_is_given_is_read_back(webcam: Webcam) -> None:
    with camera(serial="A1", width_px=1000, height_px=700, fps=12.0) as (_, info):
        pass
    assert info.details["offered"] == (
        "MJPG 320x240 at 30/15/10/5; MJPG 640x480 at 30/15/10/5; MJPG 1280x720 at 30/15/10/5; "
        "YUYV 160x120 at 30/15/10/5"
    )
    assert info.details["size_asked"] == "1000x700"
    assert info.details["fps_asked"] == "12"
    assert info.details["size"] in ("640x480", "1280x720")
    assert any("size is not 1000x700" in warning for warning in info.warnings)


def test_mjpg_is_handed_on_untouched_with_the_kernels_times(webcam: Webcam) -> None:
    """The webcam keeps when it began to send each frame, by the same clock."""
    numbers = webcam.pictures(SIZE)
    with camera(serial="A1") as (driver, info):
        frames = [driver.read() for _ in range(40)]
    sent = {int(number): at for number, at in webcam.do("sent").items()}
    assert info.details["fourcc"] == "MJPG"
    clock = time.time_ns() - time.monotonic_ns()
    errors = []
    for frame in frames:
        assert frame is not None
        assert frame.encoded in numbers
        taken = frame.acquisition_time_ns - clock
        same = [at for n, at in sent.items() if n % len(numbers) == numbers[frame.encoded]]
        errors.append(min(abs(taken - at) for at in same) / 1e9)
    print(f"times off by {sorted(errors)[20] * 1e3:.1f} ms, at most {max(errors) * 1e3:.1f} ms")
    assert sorted(errors)[20] < 0.02


def test_a_still_is_none_of_the_frames_that_wait_in_buffers(webcam: Webcam) -> None:
    numbers = webcam.pictures(SIZE)
    with camera(serial="A1") as (driver, _):
        for _ in range(3):
            time.sleep(0.5)  # the buffers fill with what is old then
            asked = time.monotonic_ns()
            frame = driver.capture(Shot())
            sent = {int(n): at for n, at in webcam.do("sent").items()}
            assert frame.encoded is not None
            number = numbers[frame.encoded]
            assert max(at for n, at in sent.items() if n % len(numbers) == number) > asked


def test_uncompressed_frames_become_pixels(webcam: Webcam) -> None:
    with camera(serial="A1", fourcc="YUYV", width_px=160, height_px=120) as (driver, info):
        frame = driver.read()
    assert info.details["fourcc"] == "YUYV"
    assert frame is not None
    assert frame.pixels is not None
    assert frame.pixels.shape == (120, 160, 3)
    assert frame.pixels.std() == 0, "each of its frames is all grey"


def test_exposure_is_told_where_it_is_set(webcam: Webcam) -> None:
    with camera(serial="A1") as (driver, _):
        assert driver.capture(Shot()).exposure_us is None
        driver.set_controls({"exposure_duration_us": 20_000, "exposure_mode": "manual"})
        assert driver.capture(Shot()).exposure_us == 20_000


def test_a_control_that_is_not_told_costs_nothing_but_its_value(webcam: Webcam) -> None:
    webcam.unplug()  # the kernel remembers values
    webcam.plug()
    webcam.do("withhold")
    with camera(serial="A1") as (driver, _):
        values = {control.name: control.value for control in driver.controls()}
        assert driver.capture(Shot()).encoded
    webcam.do("tell")
    assert values["brightness"] is None
    assert values["gain"] == 10


def test_unplugging_is_noticed_at_once_while_reading_and_while_idle(webcam: Webcam) -> None:
    with camera(serial="A1") as (driver, _):
        driver.health_check()
        webcam.unplug()
        unplugged = time.monotonic()
        with pytest.raises(DeviceAway, match="unplugged"):
            for _ in itertools.count():
                driver.read()
        with pytest.raises(DeviceAway, match="unplugged"):
            driver.health_check()
        assert time.monotonic() - unplugged < AT_ONCE_S
    with pytest.raises(DeviceAway, match="no camera is attached"), camera(serial="A1"):
        pass


def test_the_dead_handle_of_an_unplugged_camera_does_not_hide_the_new_node(webcam: Webcam) -> None:
    with camera(serial="A1") as (driver, _):
        before = webcam.node
        webcam.unplug()
        webcam.plug()
        assert webcam.node != before
        with pytest.raises(DeviceAway):
            driver.health_check()
        with camera(serial="A1") as (again, _):
            assert again.read() is not None


@pytest.mark.parametrize("fault", ["freeze", "lose"])
def test_a_device_that_delivers_nothing_is_given_up_in_time(webcam: Webcam, fault: str) -> None:
    """The frames that are lost come marked as damaged, and the kernel drops each."""
    webcam.do(fault)
    started = time.monotonic()
    with (
        pytest.raises(DeviceAway, match="no frame within 1 s"),
        camera(serial="A1", read_timeout_s=1),
    ):
        pass
    assert time.monotonic() - started < 3
    webcam.do("flow")
    with camera(serial="A1", read_timeout_s=1) as (driver, _):
        webcam.do(fault)
        with pytest.raises(DeviceAway, match="no frame within 1 s"):
            for _ in itertools.count():
                driver.read()
        webcam.do("flow")
        assert driver.read() is not None, "the same handle goes on"


def test_another_program_that_has_it_is_named(webcam: Webcam) -> None:
    assert not video_nodes.is_taken(Path(webcam.node))
    with held(webcam) as holder:
        assert video_nodes.is_taken(Path(webcam.node)), "which a sandbox does not hide"
        with (
            pytest.raises(DeviceAway, match="another program uses the camera") as caught,
            camera(serial="A1"),
        ):
            pass
        assert "python" in str(caught.value)
        findings = V4L2Camera.diagnose(resolved("v4l2", serial="A1"))
        assert any(f"(pid {holder.pid})" in f.text for f in findings if not f.ok)
    with camera(serial="A1"):
        pass


def test_a_diagnosis_tells_what_the_kernel_said(webcam: Webcam) -> None:
    texts = [finding.text for finding in V4L2Camera.diagnose(resolved("v4l2", serial="A1"))]
    assert any(text.startswith("attached: ") and "serial A1" in text for text in texts)
    assert any("Found UVC" in text for text in texts)


def test_unanswered_requests_are_waited_for_as_long_as_the_kernel_does(webcam: Webcam) -> None:
    """That is 5 s; OpenCV waits for several of them one after the other."""
    webcam.do("mute")
    started = time.monotonic()
    with pytest.raises(DriverError, match=r"did not take its format.*EIO"), camera(serial="A1"):
        pass
    assert time.monotonic() - started < 8
    webcam.do("speak")
    until(lambda: find(webcam.node) is not None, "it is still there")
    with camera(serial="A1") as (driver, _):
        assert driver.read() is not None


def test_discovery_prints_settings_ready_to_paste(webcam: Webcam) -> None:
    from camsvc.model.discovery import FoundDevice

    (device,) = (d for d in V4L2Camera.discover() if d.serial == "A1")
    assert FoundDevice("v4l2", device, "v4l2-0").settings_snippet.splitlines() == [
        "[[cameras]]",
        'id = "v4l2-0"',
        'driver = "v4l2"',
        'serial = "A1"',
    ]
