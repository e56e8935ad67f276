"""MJPEG over HTTP, from servers that write it in every way that cameras do."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.model.errors import DeviceAway, DriverError
from camsvc.model.values import Frame, Shot
from tests.support.http_camera import (
    BOUNDARY,
    HttpCamera,
    Request,
    Script,
    Viewer,
    number_of,
    numbered,
    streaming,
)
from tests.support.timing import timing
from tests.support.url_camera import opened


def number(frame: Frame | None) -> int:
    assert frame is not None
    assert frame.mime_type == "image/jpeg"
    assert isinstance(frame.encoded, bytes)
    found = number_of(frame.encoded)
    assert found is not None
    assert frame.encoded == numbered(found), "the camera's own bytes"
    return found


def shown(driver: OpenCVCamera, count: int) -> list[int]:
    """Read so many pictures."""
    return [number(driver.read()) for _ in range(count)]


# How the parts are written.

Write = Callable[[Viewer, bytes], None]


def plain(boundary: bytes = BOUNDARY, length: int | None = -1, end: bytes = b"\r\n") -> Write:
    def write(viewer: Viewer, data: bytes) -> None:
        told = len(data) if length == -1 else length
        header = b"" if told is None else b"Content-Length: %d\r\n" % told
        text = boundary + b"\r\nContent-Type: image/jpeg\r\n" + header + b"\r\n"
        viewer.send(text.replace(b"\r\n", end), data, end)

    return write


def bare(viewer: Viewer, data: bytes) -> None:
    viewer.send(BOUNDARY + b"\r\n", data)


def no_headers(viewer: Viewer, data: bytes) -> None:
    viewer.send(BOUNDARY + b"\r\n\r\n", data, b"\r\n")


def stray_bytes(viewer: Viewer, data: bytes) -> None:
    viewer.send(BOUNDARY + b"\r\nContent-Type: image/jpeg\r\n\r\n", b"\r\n\xff", data, b"\r\n")
    viewer.send(BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\n")


def with_events(viewer: Viewer, data: bytes) -> None:
    viewer.send(BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\nmotion=1\r\n")
    viewer.send(BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\n\r\n")
    viewer.part(data)


def in_drops(viewer: Viewer, data: bytes) -> None:
    text = BOUNDARY + b"\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n"
    for at in range(0, len(text), 97):
        viewer.send(text[at : at + 97])


MIXED = "multipart/x-mixed-replace"
WAYS: dict[str, tuple[str, Write]] = {
    "as it should be": (f"{MIXED}; boundary=frame", plain()),
    "no length": (f"{MIXED}; boundary=frame", plain(length=None)),
    "length too small": (f"{MIXED}; boundary=frame", plain(length=100)),
    "length too large": (f"{MIXED}; boundary=frame", plain(length=9_999_999)),
    "length zero": (f"{MIXED}; boundary=frame", plain(length=0)),
    "quoted boundary": (f'{MIXED}; boundary="frame"', plain()),
    "dashes in the header": (f"{MIXED}; boundary=--frame", plain()),
    "no dashes at all": (f"{MIXED}; boundary=frame", plain(b"frame")),
    "more dashes": (f"{MIXED}; boundary=frame", plain(b"------frame", None)),
    "no boundary in the header": (MIXED, plain()),
    "another boundary": (f"{MIXED}; boundary=other", plain()),
    "one letter": (f"{MIXED}; boundary=a", plain(b"--a", None)),
    "line feeds alone": (f"{MIXED}; boundary=frame", plain(end=b"\n")),
    "line feeds, no length": (f"{MIXED}; boundary=frame", plain(length=None, end=b"\n")),
    "no headers": (f"{MIXED}; boundary=frame", no_headers),
    "no blank line": (f"{MIXED}; boundary=frame", bare),
    "stray bytes": (f"{MIXED}; boundary=frame", stray_bytes),
    "events among them": (f"{MIXED}; boundary=frame", with_events),
    "in drops": (f"{MIXED}; boundary=frame", in_drops),
    "called text": ("text/plain", plain()),
    "called nothing": ("application/octet-stream", plain(length=None)),
}


@pytest.mark.parametrize("way", WAYS)
def test_however_the_parts_are_written(way: str) -> None:
    """Each picture comes as it is sent, before the boundary that follows it."""
    content_type, write = WAYS[way]
    go_on = threading.Semaphore(0)

    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream(content_type)
        for count in range(6):
            write(viewer, numbered(count))
            assert go_on.acquire(timeout=60)
        viewer.hang()

    with HttpCamera(script) as camera, opened(camera.url("/x")) as (driver, info):
        for count in range(6):
            assert shown(driver, 1) == [count]
            go_on.release()
    assert info.details["size"] == "64x48"
    assert info.details["backend"] == "HTTP"
    assert camera.connections == 1


@pytest.mark.parametrize("length", [-1, None])
def test_an_answer_in_chunks(length: int | None) -> None:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
        viewer.send(b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        for count in range(3):
            told = b"" if length is None else b"Content-Length: %d\r\n" % len(numbered(count))
            text = BOUNDARY + b"\r\n" + told + b"\r\n" + numbered(count) + b"\r\n"
            for piece in (text[:1000], text[1000:]):
                viewer.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            viewer.pause(0.1)
        viewer.hang()

    with HttpCamera(script) as camera, opened(camera.url("/x")) as (driver, _):
        assert shown(driver, 3) == [0, 1, 2]


# Damage.


def test_a_damaged_picture_is_never_taken_for_a_whole_one() -> None:
    """Each second picture is cut: by its length, in its scan or in its header. Stills skip it."""
    cuts = (0.5, 0.02, 0.97, 0.3)

    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        for count in range(100_000):
            data = numbered(count)
            if count % 2:
                data = data[: int(len(data) * cuts[count // 2 % len(cuts)])]
            viewer.part(data, length=-1 if count % 3 else None)
            viewer.pause(0.01)

    with HttpCamera(script) as camera, opened(camera.url("/x")) as (driver, _):
        for _ in range(10):
            assert number(driver.capture(Shot())) % 2 == 0
        seen = set[object]()
        for _ in range(20):
            try:
                seen.add(number(driver.read()) % 2)
            except DriverError as error:
                seen.add(str(error).partition(":")[0])
    assert seen == {0, "corrupt picture"}


def test_a_camera_whose_pictures_are_all_damaged_says_so() -> None:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        for count in range(100_000):
            viewer.part(numbered(count)[:1000])
            viewer.pause(0.01)

    with (
        HttpCamera(script) as camera,
        opened(camera.url("/x")) as (driver, _),
        pytest.raises(DriverError, match="corrupt picture"),
    ):
        driver.capture(Shot())


def test_a_picture_without_end_is_bounded() -> None:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        viewer.send(BOUNDARY + b"\r\n\r\n\xff\xd8")
        while True:
            viewer.send(b"\x55" * (1 << 20))

    with (
        HttpCamera(script) as camera,
        pytest.raises(DriverError, match="over 64 MiB"),
        opened(camera.url("/x")) as (driver, _),
    ):
        driver.capture(Shot())


# Sizes.


def test_pictures_have_their_true_size_also_when_it_changes() -> None:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        for count in range(100_000):
            viewer.part(numbered(count, (64, 48) if count < 3 else (96, 32)))
            viewer.pause(0.02)

    with HttpCamera(script) as camera, opened(camera.url("/x")) as (driver, info):
        assert info.sizes == [(64, 48)]
        while (frame := driver.capture(Shot())).encoded != numbered(
            number_of(frame.encoded or b"") or 0, (96, 32)
        ):
            pass
        changed = driver.health_check()
        assert changed is not None
        assert changed.sizes == [(96, 32)]
        assert changed.details["size"] == "96x32"
        assert driver.health_check() is None


# Rates.


ON_ITS_WAY_S = 0.02
"""Between sending and arriving, in one process; `acquisition_time` is exact."""

RATES: dict[str, tuple[Script, int]] = {
    "120 fps": (streaming(120), 20),
    "100 fps": (streaming(100, length=None), 20),
    "30 fps": (streaming(30, size=(640, 480)), 20),
    "3 fps": (streaming(3), 5),
    "bursts": (streaming(40, burst=20), 5),
}


@pytest.mark.parametrize("rate", RATES)
def test_each_still_was_sent_after_it_was_asked_for(rate: str) -> None:
    script, stills = RATES[rate]
    with HttpCamera(script) as camera, opened(camera.url("/x")) as (driver, _):
        for _ in range(stills):
            asked_s, asked_ns = time.monotonic(), time.time_ns()
            frame = driver.capture(Shot())
            assert frame.encoded is not None
            found = number_of(frame.encoded)
            assert found is not None
            assert camera.sent[found] >= asked_s - ON_ITS_WAY_S
            assert frame.acquisition_time_ns >= asked_ns
            time.sleep(0.03)  # what comes meanwhile is what must not be taken
    assert camera.connections == 1


def test_a_camera_that_pauses_for_longer_than_its_read_timeout() -> None:
    """It is not given up, as it has not failed: its pauses are measured."""
    with (
        HttpCamera(streaming(1.0 / 0.6)) as camera,
        opened(camera.url("/x"), read_timeout_s=0.3) as (driver, info),
    ):
        assert info.max_silence_s == pytest.approx(0.9)
        for _ in range(3):
            number(driver.capture(Shot()))
        changed = driver.health_check()
        assert changed is not None
        assert changed.max_silence_s >= 3 * 0.6
    assert camera.connections == 1


def test_live_view_shows_each_picture_once() -> None:
    with HttpCamera(streaming(50)) as camera, opened(camera.url("/x")) as (driver, _):
        numbers = shown(driver, 40)
    assert numbers == sorted(set(numbers))


def test_waiting_for_a_picture_is_broken_off_for_a_command() -> None:
    command = threading.Event()
    with (
        HttpCamera(streaming(0.05)) as camera,
        opened(camera.url("/x"), interrupt=command) as (driver, _),
    ):
        assert shown(driver, 1) == [0]
        threading.Timer(0.1, command.set).start()
        assert driver.read() is None


# Ends.


def test_a_camera_that_ends_its_stream_is_asked_again() -> None:
    """Some end it after some minutes, others after each picture."""

    def script(request: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        viewer.part(numbered(len(camera.requests)))
        raise ConnectionAbortedError

    with HttpCamera(script) as camera, opened(camera.url("/x"), snapshot_fps=50) as (driver, _):
        assert shown(driver, 5) == [1, 2, 3, 4, 5]


def test_a_picture_that_the_end_cuts_is_not_taken() -> None:
    def script(request: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        count = len(camera.requests)
        viewer.part(numbered(count))
        viewer.send(BOUNDARY + b"\r\n\r\n" + numbered(99)[:-2])
        raise ConnectionAbortedError

    with HttpCamera(script) as camera, opened(camera.url("/x"), snapshot_fps=50) as (driver, _):
        assert shown(driver, 4) == [1, 2, 3, 4]


@pytest.mark.timed
@pytest.mark.parametrize("at", ["before", "within"])
def test_a_stream_that_falls_silent_is_given_up(at: str) -> None:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        viewer.part(numbered(0))
        if at == "within":
            viewer.send(BOUNDARY + b"\r\n\r\n" + numbered(1)[:1000])
        viewer.hang()

    with HttpCamera(script) as camera, opened(camera.url("/x"), read_timeout_s=0.3) as (driver, _):
        assert shown(driver, 1) == [0]
        with timing(os.getpid()) as took, pytest.raises(DeviceAway, match="read_timeout_s"):
            driver.read()
        took.assert_within(1.5)
        with pytest.raises(DeviceAway):
            driver.health_check()


def test_a_stream_that_ends_is_noticed_while_nobody_looks() -> None:
    ended = threading.Event()

    def script(_: Request, viewer: Viewer) -> None:
        if ended.is_set():
            viewer.answer("404 Not Found")
            return
        viewer.begin_stream()
        viewer.part(numbered(0))
        assert ended.wait(60)
        raise ConnectionAbortedError

    with HttpCamera(script) as camera, opened(camera.url("/x")) as (driver, _):
        number(driver.read())
        assert driver.health_check() is None
        ended.set()
        with pytest.raises(DeviceAway, match="404"):
            while True:
                driver.health_check()


def test_repeats_are_a_failure_where_the_settings_say_so() -> None:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        while True:
            viewer.part(numbered(0))
            viewer.pause(0.01)

    with (
        HttpCamera(script) as camera,
        opened(camera.url("/x"), repeat_limit=5) as (driver, _),
        pytest.raises(DriverError, match="5 in a row are the same"),
    ):
        for _ in range(6):
            driver.read()
