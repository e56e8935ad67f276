"""The OpenCV driver on real encoded video, and on scripted devices for what has none here.

A picture counts as the source's picture N when it is within `SAME_DB` of what ffmpeg itself
decodes as that; neighbours are 20 dB apart.
"""

import contextlib
import http.server
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from camsvc.drivers.base import DriverState
from camsvc.drivers.linux import holders
from camsvc.drivers.opencv import handle
from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.drivers.opencv.device import PROPERTIES
from camsvc.images.codec import Picture, finish
from camsvc.model.errors import DriverError, DriverFault, InvalidRequest
from camsvc.model.values import DeviceInfo, Frame, Shot
from tests.support import live_stream as live_stream_of
from tests.support import videos as videos_of
from tests.support.canary import CANARY
from tests.support.http_camera import HttpCamera, Request, Viewer
from tests.support.live_stream import LiveStream
from tests.support.once import made_once
from tests.support.settings import resolved
from tests.support.timing import timing
from tests.support.videos import COUNT, FPS, HEIGHT, SAME_DB, WIDTH, Pixels, Video, Videos


@contextlib.contextmanager
def camera(**settings: object) -> Iterator[tuple[OpenCVCamera, DeviceInfo]]:
    driver = OpenCVCamera(resolved("opencv", **settings), DriverState())
    try:
        yield driver, driver.open()
    finally:
        driver.close()


def pixels(frame: Frame) -> Pixels:
    assert frame.pixels is not None
    return np.asarray(frame.pixels, np.uint8)


# Files.


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_every_picture_of_a_file_in_its_order(videos: Videos, codec: str) -> None:
    video: Video = getattr(videos, codec)
    with camera(source=str(video.path)) as (driver, _):
        for number in range(COUNT):
            found, likeness = video.nearest(pixels(driver.capture(Shot())))
            assert found == number
            assert likeness >= SAME_DB


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_still_as_it_leaves_the_worker(videos: Videos, codec: str) -> None:
    """The default JPEG of a picture is still that picture, whatever 4:2:0 costs its pure colours.

    That is 27 dB here; any other picture stays below 21.
    """
    video: Video = getattr(videos, codec)
    with camera(source=str(video.path), warmup_frames=7) as (driver, _):
        frame = driver.capture(Shot())
    data, output = finish(Picture(frame), Shot())
    assert (output.mime_type, output.width_px, output.height_px) == ("image/jpeg", WIDTH, HEIGHT)
    again = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    number, likeness = video.nearest(again)
    assert number == 7
    assert likeness >= 25


@pytest.mark.parametrize(("codec", "fourcc"), [("h264", "h264"), ("mjpeg", "MJPG")])
def test_a_file_says_what_it_is(videos: Videos, codec: str, fourcc: str) -> None:
    video: Video = getattr(videos, codec)
    with camera(source=str(video.path)) as (driver, info):
        assert driver.controls() == []
    assert info.details == {
        "backend": "FFMPEG",
        "size": f"{WIDTH}x{HEIGHT}",
        "fps": str(FPS),
        "fourcc": fourcc,
    }
    assert info.expected_capture_s < 0.1


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("aspect", "size"), [("64/45", (455, 240)), ("1/2", (320, 480)), ("1", (320, 240))]
)
def test_a_video_is_shown_as_it_is_meant(
    videos: Videos, tmp_path: Path, aspect: str, size: tuple[int, int], turned: int
) -> None:
    """Upright, and with square pixels, as ffmpeg itself makes it."""
    plain, held, wanted = (tmp_path / name for name in ("plain.mp4", "held.mp4", "wanted.png"))
    source = ["-i", str(videos.h264.path), "-frames:v", "2"]
    subprocess.run(videos_of.ffmpeg(*source, "-vf", f"setsar={aspect}", str(plain)), check=True)
    turn = ["-display_rotation", str(turned), "-i", str(plain), "-c", "copy", str(held)]
    subprocess.run(videos_of.ffmpeg(*turn), check=True)
    size = size if turned % 180 == 0 else size[::-1]
    scale = ["-vf", f"scale={size[0]}:{size[1]}:flags=bilinear", "-frames:v", "1", str(wanted)]
    subprocess.run(videos_of.ffmpeg("-i", str(held), *scale), check=True)
    with camera(source=str(held)) as (driver, info):
        shown = pixels(driver.capture(Shot()))
    assert info.sizes == [size]
    assert shown.shape[1::-1] == size
    picture = np.asarray(cv2.imread(str(wanted)), np.uint8)
    assert videos_of.psnr(shown, picture) > 25
    assert videos_of.psnr(shown, picture[::-1, ::-1]) < 15


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_looping_file_begins_again(videos: Videos, codec: str) -> None:
    video: Video = getattr(videos, codec)
    with camera(source=str(video.path), loop=True) as (driver, _):
        found = [video.nearest(pixels(driver.capture(Shot())))[0] for _ in range(2 * COUNT + 3)]
    assert found == [number % COUNT for number in range(2 * COUNT + 3)]


def test_the_end_of_a_file_is_permanent_until_it_is_opened_again(videos: Videos) -> None:
    with camera(source=str(videos.h264.path)) as (driver, _):
        for _ in range(COUNT):
            driver.capture(Shot())
        for _ in range(2):
            with pytest.raises(DriverFault, match=r"ended, after 30 pictures; set loop = true"):
                driver.capture(Shot())
    with camera(source=str(videos.h264.path)) as (driver, _):
        assert videos.h264.nearest(pixels(driver.capture(Shot())))[0] == 0


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_file_cut_off_gives_what_it_has(videos: Videos, codec: str, tmp_path: Path) -> None:
    video: Video = getattr(videos, codec)
    cut = tmp_path / f"cut{video.path.suffix}"
    cut.write_bytes(video.path.read_bytes()[: video.path.stat().st_size // 2])
    with camera(source=str(cut)) as (driver, _):
        found = [video.nearest(pixels(driver.capture(Shot()))) for _ in range(5)]
        with pytest.raises(DriverFault, match=r"pictures of the 30 that it announces"):
            all(driver.capture(Shot()) for _ in range(COUNT))
    assert [number for number, _ in found] == list(range(5))
    assert min(likeness for _, likeness in found) >= SAME_DB


def _missing(_: Videos, folder: Path) -> Path:
    return folder / "secret-name.mp4"


def _folder(_: Videos, folder: Path) -> Path:
    (folder / "secret-name").mkdir()
    return folder / "secret-name"


def _containing(data: bytes) -> Callable[[Videos, Path], Path]:
    def make(_: Videos, folder: Path) -> Path:
        path = folder / "secret-name.mp4"
        path.write_bytes(data)
        return path

    return make


def _header_only(videos: Videos, folder: Path) -> Path:
    path = folder / "secret-name.mp4"
    path.write_bytes(videos.h264.path.read_bytes()[:200])
    return path


def _header_without_pictures(videos: Videos, folder: Path) -> Path:
    path = folder / "secret-name.avi"
    data = videos.mjpeg.path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "does not exist"),
        (_folder, "is a folder"),
        (_containing(b""), "cannot be read as a video"),
        (_containing(b"no video\n" * 999), "cannot be read as a video"),
        (_containing(bytes(range(256)) * 99), "cannot be read as a video"),
        (_header_only, "cannot be read as a video"),
        (_header_without_pictures, "no readable picture|cannot be read as a video"),
    ],
)
@pytest.mark.parametrize("loop", [False, True])
def test_what_is_no_video_is_a_permanent_fault(
    videos: Videos,
    tmp_path: Path,
    make: Callable[[Videos, Path], Path],
    message: str,
    loop: bool,
) -> None:
    """The message is for clients: it names the key of the settings, not the path."""
    path = make(videos, tmp_path)
    with (
        pytest.raises(DriverFault, match=message) as caught,
        camera(source=str(path), loop=loop) as (driver, _),
    ):
        driver.capture(Shot())
    assert "settings' `source`" in str(caught.value)
    assert "secret-name" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "2026-11-29T10:20:30.avi",
        "rtsp:x.avi",
        "concat:a|b.avi",
        "file:x.avi",
        "-x.avi",
        "img_%02d.jpg",
        "a*.jpg",
        "pipe:0",
        "a b#c?d.avi",
    ],
)
def test_the_name_of_a_file_is_nothing_else(
    videos: Videos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No protocol, no series of pictures, no option of FFmpeg's."""
    (tmp_path / name).write_bytes(videos.mjpeg.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    for source in (name, str(tmp_path / name)):
        with camera(source=source) as (driver, _):
            assert videos.mjpeg.nearest(pixels(driver.capture(Shot())))[0] == 0


def test_a_pattern_is_a_name_like_any_other(tmp_path: Path) -> None:
    for shade, name in enumerate(["img_%02d.png", "img_00.png", "img_01.png"]):
        assert cv2.imwrite(str(tmp_path / "x.png"), np.full((48, 64, 3), shade, np.uint8))
        (tmp_path / "x.png").rename(tmp_path / name)
    with camera(source=str(tmp_path / "img_%02d.png")) as (driver, _):
        assert pixels(driver.capture(Shot())).max() == 0
        with pytest.raises(DriverFault, match="ended, after 1 pictures"):
            driver.capture(Shot())


def test_a_file_that_goes_away_is_noticed_when_it_begins_again(
    videos: Videos, tmp_path: Path
) -> None:
    path = tmp_path / "gone.avi"
    path.write_bytes(videos.mjpeg.path.read_bytes())
    with camera(source=str(path), loop=True) as (driver, _):
        path.unlink()
        for _ in range(COUNT):
            driver.capture(Shot())
        with pytest.raises(DriverFault, match="does not exist"):
            driver.capture(Shot())
        with pytest.raises(DriverError, match="is not open"):
            driver.capture(Shot())


def test_a_backend_that_is_not_built_in(videos: Videos) -> None:
    missing = next(
        name
        for name in ("dshow", "avfoundation")
        if not cv2.videoio_registry.hasBackend(getattr(cv2, f"CAP_{name.upper()}"))
    )
    with (
        pytest.raises(
            DriverFault, match=f"'{missing}' is not built into this OpenCV, which has: any"
        ),
        camera(source=str(videos.h264.path), backend=missing),
    ):
        pass


def test_a_file_that_repeats_its_picture_is_fine_by_default(videos: Videos) -> None:
    with camera(source=str(videos.constant.path)) as (driver, _):
        frames = [pixels(driver.capture(Shot())) for _ in range(COUNT)]
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


def test_a_repeating_picture_is_noticed_by_its_limit(videos: Videos) -> None:
    """The first still is good; the second one finds that nothing new comes any more."""
    with camera(source=str(videos.constant.path), repeat_limit=10) as (driver, _):
        driver.capture(Shot())
        with pytest.raises(DriverError, match="repeats its last frame: 10 in a row"):
            driver.capture(Shot())
    with camera(source=str(videos.h264.path), repeat_limit=10) as (driver, _):
        found = [videos.h264.nearest(pixels(driver.capture(Shot())))[0] for _ in range(COUNT)]
    assert found == list(range(COUNT))


# URLs.


@pytest.fixture
def live_stream(tmp_path_factory: pytest.TempPathFactory) -> LiveStream:
    return LiveStream(made_once(tmp_path_factory, "live-stream", live_stream_of.make))


LATENCY_S = 0.4
"""How old a picture may be when it is decoded: a decoder has some on their way."""


@pytest.mark.timed
def test_a_live_stream_gives_no_picture_from_before_the_request(live_stream: LiveStream) -> None:
    """What gathered in the meantime is dropped: a picture is sent after it is asked for."""
    taken = []
    with live_stream.serving() as url:
        driver = OpenCVCamera(resolved("opencv", source=url), DriverState())
        info = driver.open()
        try:
            for pause_s in (0.0, 1.5, 1.0):
                time.sleep(pause_s)  # the stream goes on meanwhile: that is what is tested
                with timing(os.getpid()) as took:
                    frame = driver.capture(Shot())
                taken.append((frame, took))
        finally:
            driver.close()
    assert "127.0.0.1" not in str(info)
    for frame, took in taken:
        number, _ = live_stream.pictures.nearest(pixels(frame))
        age_s = frame.acquisition_time_ns / 1e9 - live_stream.sent_s[number]
        print(f"picture {number} was sent {age_s:.3f} s before it was acquired; {took}")
        assert age_s - took.waited_s < LATENCY_S


@pytest.mark.timed
def test_a_prepared_still_of_a_live_stream_has_no_backlog_to_drop(live_stream: LiveStream) -> None:
    with live_stream.serving() as url:
        driver = OpenCVCamera(resolved("opencv", source=url), DriverState())
        driver.open()
        try:
            time.sleep(1.5)  # as above; that is some 37 pictures
            driver.prepare(Shot())
            asked_ns = time.time_ns()
            with timing(os.getpid()) as took:
                frame = driver.capture(Shot())
        finally:
            driver.close()
    assert frame.acquisition_time_ns >= asked_ns
    took.assert_within(5 / FPS)


def test_a_live_video_comes_by_the_one_connection_that_was_logged_in(
    live_stream: LiveStream,
) -> None:
    """FFmpeg gets it from there: it neither connects nor logs in itself. A hang is noticed."""
    video = (live_stream.pictures.path / "live.ts").read_bytes()

    def script(request: Request, viewer: Viewer) -> None:
        if "authorization" not in request.headers:
            viewer.answer("401 Unauthorized", WWW_Authenticate="Basic")
            return
        viewer.send(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        for at in range(0, len(video) // 2, 4000):
            viewer.send(video[at : at + 4000])
            viewer.pause(0.02)
        viewer.hang()

    with HttpCamera(script) as server:
        url = server.url("/x", login=f"user:{CANARY}")
        with camera(source=url, read_timeout_s=0.5) as (driver, info):
            numbers = [live_stream.pictures.nearest(pixels(driver.capture(Shot())))[0]]
            with pytest.raises(DriverError, match="stream ended|no whole picture"):
                while True:
                    driver.capture(Shot())
    assert numbers
    assert (server.connections, server.logins) == (1, 1)
    assert "damage on the way cannot be seen" in info.details["integrity"]


def test_a_url_with_an_end_gives_every_picture(videos: Videos) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(videos.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/{videos.h264.path.name}"
            with camera(source=url) as (driver, info):
                found = [videos.h264.nearest(pixels(driver.capture(Shot()))) for _ in range(COUNT)]
                with pytest.raises(DriverError, match="its stream ended"):
                    driver.capture(Shot())
        finally:
            server.shutdown()
            thread.join()
    assert [number for number, _ in found] == list(range(COUNT))
    assert "127.0.0.1" not in str(info)


# Devices. What a real one does was seen on V4L2 devices of a kernel; here it is scripted.

DEVICE = {"source": os.devnull, "backend": "v4l2"}
"""A path that the driver takes for a device's, exists, and may be opened."""

Script = Callable[[int], Pixels | None]
"""Makes the N-th frame; None: the grab fails."""


def noise(number: int) -> Pixels:
    return np.full((48, 64, 3), number % 256, np.uint8)


class ScriptedDevice:
    """Stands in for cv2.VideoCapture on a V4L2 device."""

    def __init__(self, script: Script, **properties: float) -> None:
        self.script = script
        self.properties = {
            "FRAME_WIDTH": 64,
            "FRAME_HEIGHT": 48,
            "FPS": 30,
            "FOURCC": cv2.VideoWriter.fourcc(*"YUYV"),
            "BUFFERSIZE": 2,
            **properties,
        }
        self.fixed = {"FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "FOURCC", "BUFFERSIZE"} | {*properties}
        self.asked: list[tuple[str, float]] = []
        self.grabs = 0
        self.released = False

    def isOpened(self) -> bool:
        return not self.released

    def getBackendName(self) -> str:
        return "V4L2"

    def get(self, prop: int) -> float:
        return self.properties.get(_name(prop), -1)

    def set(self, prop: int, value: float) -> bool:
        self.asked.append((_name(prop), value))
        if _name(prop) not in self.fixed:
            self.properties[_name(prop)] = value
        return True  # as V4L2 does, whatever it made of it

    def grab(self) -> bool:
        self.grabs += 1
        self.frame = self.script(self.grabs)
        return self.frame is not None

    def retrieve(self) -> tuple[bool, Pixels | None]:
        return True, self.frame

    def release(self) -> None:
        self.released = True


def _name(prop: int) -> str:
    names = ["FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "FOURCC", "BUFFERSIZE", "CONVERT_RGB"]
    names += PROPERTIES.values()
    return next((n for n in names if getattr(cv2, f"CAP_PROP_{n}") == prop), str(prop))


Attach = Callable[..., ScriptedDevice]


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Attach:
    def attach(script: Script, **properties: float) -> ScriptedDevice:
        device = ScriptedDevice(script, **properties)

        def open_capture(_: int | str, __: int, ___: Sequence[int]) -> ScriptedDevice:
            return device

        monkeypatch.setattr(handle, "open_capture", open_capture)
        return device

    return attach


def test_a_device_is_asked_and_read_back(attach: Attach) -> None:
    """Nothing is believed: format, size and rate are those that the device has in the end."""
    device = attach(noise)
    asked = {"width_px": 1920, "height_px": 1080, "fps": 60.0}
    with camera(**DEVICE, **asked) as (_, info):
        pass
    assert device.released
    assert device.asked == [
        ("BUFFERSIZE", 1),
        ("FOURCC", int.from_bytes(b"MJPG", "little")),
        ("FRAME_WIDTH", 1920),
        ("FRAME_HEIGHT", 1080),
        ("FPS", 60),
    ]
    assert info.details == {
        "backend": "V4L2",
        "size": "64x48",
        "fps": "30",
        "fourcc": "YUYV",
        "buffers": "2",
        "size_asked": "1920x1080",
        "fps_asked": "60",
        "fourcc_asked": "MJPG",
    }


def test_an_empty_fourcc_leaves_the_device_its_own(attach: Attach) -> None:
    device = attach(noise)
    with camera(**DEVICE, fourcc=""):
        pass
    assert device.asked == [("BUFFERSIZE", 1)]


def test_warm_up_and_buffered_frames_are_dropped(attach: Attach) -> None:
    """Two frames are buffered, and one may be under way: the fourth is the still."""
    attach(noise)
    with camera(**DEVICE) as (driver, info):
        taken = [int(pixels(driver.capture(Shot()))[0, 0, 0]) for _ in range(2)]
    assert taken == [5 + 4, 5 + 8]
    assert info.expected_capture_s == pytest.approx(4 / 30 + 0.05)


@pytest.mark.parametrize(("told", "dropped"), [(-1, 4), (0, 4), (1, 1), (10, 10), (1e9, 4)])
def test_as_many_are_dropped_as_the_device_buffers(
    attach: Attach, told: float, dropped: int
) -> None:
    device = attach(noise, BUFFERSIZE=told)
    with camera(**DEVICE, warmup_frames=0) as (driver, _):
        driver.capture(Shot())
    assert device.grabs == dropped + 2


def test_mjpg_is_passed_through(attach: Attach) -> None:
    def jpeg(number: int) -> Pixels:
        return np.frombuffer(b"\xff\xd8%d\xff\xd9" % number, np.uint8).reshape(1, -1)

    device = attach(jpeg, FOURCC=cv2.VideoWriter.fourcc(*"MJPG"))
    with camera(**DEVICE, warmup_frames=0) as (driver, info):
        frame = driver.capture(Shot())
    assert device.asked[-1] == ("CONVERT_RGB", 0.0)
    assert (frame.encoded, frame.mime_type) == (b"\xff\xd84\xff\xd9", "image/jpeg")
    assert frame.pixels is None
    assert "fourcc_asked" not in info.details


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 4)])
def test_what_is_not_of_three_channels_and_8_bits_is_handed_on(
    attach: Attach, shape: tuple[int, ...], kind: type
) -> None:
    """Of a monochrome camera, or one of 16 bits: the worker knows what to do with it."""
    attach(lambda number: np.full(shape, number, kind))
    with camera(**DEVICE) as (driver, _):
        frame = driver.capture(Shot())
    assert frame.pixels is not None
    assert frame.pixels.shape == shape
    assert frame.pixels.dtype == kind


def test_a_picture_of_one_line_is_no_jpeg(attach: Attach) -> None:
    attach(lambda number: np.full((1, 64, 3), number, np.uint8))
    with camera(**DEVICE) as (driver, _):
        assert pixels(driver.capture(Shot())).shape == (1, 64, 3)


def _lost_at(grab: int) -> Script:
    return lambda number: noise(number) if number < grab else None


def test_a_lost_device_fails_at_once(attach: Attach) -> None:
    """An unplugged one says no at once, for ever: each call asks it once, and no loop spins."""
    device = attach(_lost_at(10))
    with camera(**DEVICE) as (driver, _):
        driver.capture(Shot())
        for calls in (1, 2):
            with pytest.raises(DriverError, match="unplugged"):
                driver.capture(Shot())
            assert device.grabs == 9 + calls


def test_a_device_lost_at_warm_up_does_not_open(attach: Attach) -> None:
    device = attach(_lost_at(3))
    with pytest.raises(DriverError, match="unplugged"), camera(**DEVICE):
        pass
    assert device.released


def test_failed_reads_are_retried_where_the_settings_say_so(attach: Attach) -> None:
    attach(lambda number: None if number % 2 else noise(number))
    with camera(**DEVICE, read_failures=1) as (driver, _):
        driver.capture(Shot())


EMPTY: Mapping[str, object] = {
    "nothing": None,
    "no pixels": np.empty((0, 0, 3), np.uint8),
    "no bytes": np.empty((1, 0), np.uint8),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_a_read_that_returns_nothing(
    attach: Attach, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = attach(noise)
    with camera(**DEVICE) as (driver, _):
        monkeypatch.setattr(device, "retrieve", lambda: (True, EMPTY[kind]))
        with pytest.raises(DriverError, match="empty frame"):
            driver.capture(Shot())
        monkeypatch.setattr(device, "retrieve", lambda: (False, None))
        with pytest.raises(DriverError, match="empty frame"):
            driver.capture(Shot())


@pytest.mark.parametrize("frame", [np.zeros((48, 64, 2), np.uint8), np.zeros((48, 64), np.int16)])
def test_frames_that_are_no_pictures(attach: Attach, frame: Pixels) -> None:
    attach(lambda _: frame)
    with (
        pytest.raises(DriverError, match="set another `fourcc`"),
        camera(**DEVICE, repeat_limit=0) as (driver, _),
    ):
        driver.capture(Shot())


def test_an_exception_of_opencv_does_not_get_out(attach: Attach) -> None:
    def broken(_: int) -> Pixels:
        raise cv2.error("/build/opencv/modules/videoio/src/cap.cpp:1: error")

    attach(broken)
    with pytest.raises(DriverError, match="OpenCV failed") as caught, camera(**DEVICE):
        pass
    assert "/build" not in str(caught.value)


def test_a_device_that_repeats_its_last_frame(attach: Attach) -> None:
    """Unplugged under DirectShow: reads go on to succeed. No old frame comes out as a new one."""
    device = attach(lambda number: noise(min(number, 11)))
    with camera(**DEVICE) as (driver, _):
        driver.capture(Shot())
        driver.capture(Shot())
        for _ in range(2):
            before = device.grabs
            with pytest.raises(DriverError, match="30 in a row are the same"):
                driver.capture(Shot())
            assert device.grabs - before <= 3 + 30
        device.script = noise  # plugged in again: the handle recovers
        driver.capture(Shot())


def test_a_device_that_repeats_from_the_start(attach: Attach) -> None:
    """The last warm-up frame is what the first still is compared with."""
    attach(lambda _: noise(1))
    with camera(**DEVICE) as (driver, _), pytest.raises(DriverError, match="30 in a row"):
        driver.capture(Shot())


def test_repeats_are_allowed_where_the_settings_say_so(attach: Attach) -> None:
    attach(lambda _: noise(1))
    with camera(**DEVICE, repeat_limit=0) as (driver, _):
        for _ in range(3):
            driver.capture(Shot())


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([], "another program may hold it"),
        ([holders.Program("zoom", 7)], "another program uses the camera.*: zoom has it"),
    ],
)
def test_a_device_that_does_not_open(
    attach: Attach,
    monkeypatch: pytest.MonkeyPatch,
    held: list[holders.Program],
    message: str,
) -> None:
    attach(noise).released = True
    monkeypatch.setattr(holders, "holders", lambda _: held)
    with pytest.raises(DriverError, match=message), camera(**DEVICE):
        pass


@pytest.mark.parametrize("source", [4321, "/dev/v4l/by-id/usb-none-video-index0"])
def test_a_device_that_is_not_attached(source: int | str) -> None:
    with pytest.raises(DriverError, match="no camera is attached") as caught, camera(source=source):
        pass
    assert "/dev" not in str(caught.value)
    finding = OpenCVCamera.diagnose(resolved("opencv", source=source))[0]
    assert not finding.ok


def test_a_diagnosis_names_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that another program holds is refused by the kernel without saying who it is."""
    monkeypatch.setattr(
        "camsvc.drivers.linux.video_nodes.device_path", lambda *_: tmp_path / "video0"
    )
    (tmp_path / "video0").touch()
    with (
        (tmp_path / "video0").open() as node,
        subprocess.Popen(["sleep", "60"], stdin=node) as other,
    ):
        findings = OpenCVCamera.diagnose(resolved("opencv", source=0))
        other.kill()
    assert [finding.ok for finding in findings][-1] is False
    assert f"held by sleep (pid {other.pid})" in findings[-1].text


# Controls.

WEBCAM = {"AUTO_EXPOSURE": 3.0, "EXPOSURE": 157.0, "BRIGHTNESS": 0.0, "AUTOFOCUS": 1.0}


def test_controls_are_what_the_device_reports(attach: Attach) -> None:
    attach(noise).properties |= WEBCAM
    with camera(**DEVICE) as (driver, _):
        controls = {control.name: control for control in driver.controls()}
    assert {name: control.value for name, control in controls.items()} == {
        "exposure_mode": "auto",
        "focus_mode": "auto",
        "exposure_duration_us": 15_700,
        "brightness": 0,
    }
    assert controls["exposure_mode"].allowed == ["auto", "manual"]


def test_controls_are_set_modes_first(attach: Attach) -> None:
    device = attach(noise)
    device.properties |= WEBCAM
    with camera(**DEVICE) as (driver, _):
        assert driver.capture(Shot()).exposure_us is None  # on automatic it is not known
        device.asked.clear()
        driver.set_controls({"exposure_duration_us": 20_000, "exposure_mode": "manual"})
        assert device.asked == [("AUTO_EXPOSURE", 1), ("EXPOSURE", 200)]
        assert driver.capture(Shot()).exposure_us == 20_000


def test_a_control_that_the_device_does_not_take_is_refused(attach: Attach) -> None:
    """Devices clamp in silence, and ignore the exposure while it is automatic."""
    attach(noise, **WEBCAM)
    with camera(**DEVICE) as (driver, _):
        with pytest.raises(InvalidRequest, match=r"900 is not accepted .* stays at 0"):
            driver.set_controls({"brightness": 900})
        with pytest.raises(InvalidRequest, match="may need exposure_mode = manual"):
            driver.set_controls({"exposure_duration_us": 20_000})
