"""Cameras by RTSP, from a real server."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from camsvc.drivers.simulated.test_picture import read_number
from camsvc.model.errors import DeviceAway, DriverFault
from camsvc.model.values import Frame, Shot
from tests.rigs.rtsp import rig
from tests.rigs.running import needed
from tests.support.canary import CANARY
from tests.support.ports import held_port
from tests.support.timing import Timing, timing
from tests.support.url_camera import opened

pytestmark = pytest.mark.rig

LATENCY_S = 0.4
"""Encoding, sending and decoding. A picture may be held back until the next one comes: of two in a
second, one is taken that was sent before the request, by the pause before that."""


@pytest.fixture
def port() -> Iterator[int]:
    with needed():
        rig.built()
    with held_port() as port:
        yield port


def number(frame: Frame | None) -> int:
    assert frame is not None
    assert frame.pixels is not None
    found = read_number(np.asarray(frame.pixels, np.uint8))
    assert found is not None, "the picture is damaged"
    return found


@pytest.mark.parametrize(("fps", "keyframes"), [(25, 10), (25, 250), (2, 20)])
def test_stills_are_of_what_was_sent_after_the_request(
    tmp_path: Path, port: int, fps: float, keyframes: int
) -> None:
    """Also where a key frame comes every ten seconds."""
    url = f"rtsp://127.0.0.1:{port}/live"
    taken: list[tuple[int, float, Timing]] = []
    with (
        rig.server(tmp_path, port) as server,
        rig.camera(tmp_path, url, fps=fps, keyframes=keyframes) as camera,
    ):
        server.said("published /live")
        with opened(url) as (driver, info):
            for _ in range(6):
                with timing() as took:  # what is taken may have been sent a moment before
                    time.sleep(0.2)  # what is sent meanwhile must not be taken
                    asked = time.monotonic()
                    found = number(driver.capture(Shot()))
                taken.append((found, asked, took))
            numbers = [number(driver.read()) for _ in range(5)]
        sent = rig.sent(camera)
    ages = [asked - sent[found] for found, asked, _ in taken]
    print("sent before the request, in seconds:", ages)
    assert all(age - took.waited_s < LATENCY_S for age, (*_, took) in zip(ages, taken, strict=True))
    assert numbers == sorted(set(numbers))
    assert "cannot be seen" in info.details["integrity"]


@pytest.mark.parametrize("options", [(), ("-basic",)])
def test_logins(tmp_path: Path, port: int, options: tuple[str, ...]) -> None:
    """A wrong password is sent once, FFmpeg's requests included."""
    login = ("-user", "ad min", "-password", f"p@ss/{CANARY}", *options)
    url = f"127.0.0.1:{port}/live"
    with rig.server(tmp_path, port, *login) as server, rig.camera(tmp_path, f"rtsp://{url}"):
        server.said("published /live")
        for wrong in (f"ad%20min:x{CANARY}", f"admin:p%40ss%2F{CANARY}"):
            before = len(server.lines)
            with (
                pytest.raises(DriverFault, match="refuses the user or the password") as caught,
                opened(f"rtsp://{wrong}@{url}"),
            ):
                pass
            assert CANARY not in str(caught.value)
            assert [line.endswith("login") for line in server.lines[before:]].count(True) == 1
        with (
            pytest.raises(DriverFault, match=r"asks for a user and a password \(401\)"),
            opened(f"rtsp://{url}"),
        ):
            pass
        with opened(f"rtsp://ad%20min:p%40ss%2F{CANARY}@{url}") as (driver, _):
            number(driver.capture(Shot()))


def test_a_path_that_nobody_sends_to_is_waited_for(tmp_path: Path, port: int) -> None:
    url = f"rtsp://127.0.0.1:{port}/live"
    with rig.server(tmp_path, port) as server:
        with pytest.raises(DeviceAway, match=r"nothing at the path .* \(404\)"), opened(url):
            pass
        with rig.camera(tmp_path, url):
            server.said("published /live")
            with opened(url) as (driver, _):
                number(driver.capture(Shot()))


def test_a_server_that_dies_and_comes_back(tmp_path: Path, port: int) -> None:
    url = f"rtsp://127.0.0.1:{port}/live"
    with rig.server(tmp_path, port) as server, rig.camera(tmp_path, url):
        server.said("published /live")
        with opened(url) as (driver, _):
            number(driver.capture(Shot()))
            server.stop()
            with pytest.raises(DeviceAway, match="stream ended"):
                while True:
                    driver.health_check()
    with pytest.raises(DeviceAway, match="refuses the connection"), opened(url):
        pass
    with rig.server(tmp_path, port) as server, rig.camera(tmp_path, url):
        server.said("published /live")
        with opened(url) as (driver, _):
            number(driver.capture(Shot()))
