"""Pictures that servers send in other ways than as a plain JPEG."""

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest

from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.model.errors import DriverError
from camsvc.model.values import Shot
from tests.support import url_camera
from tests.support.http_camera import HttpCamera, Request, Script, Viewer, number_of, numbered
from tests.support.jpegs import photo
from tests.support.videos import Pixels

COLOURS: Pixels = np.asarray(photo(), np.uint8)
GREY = np.asarray(photo("L"), np.uint8)
ALPHA = np.dstack([COLOURS, np.full(GREY.shape, 7, np.uint8)])
SENT = {
    "colours": (".png", COLOURS),
    "grey": (".png", GREY),
    "transparent": (".png", ALPHA),
    "16 bits": (".png", GREY.astype(np.uint16) * 257),
    "WebP": (".webp", COLOURS),
    "transparent WebP": (".webp", ALPHA),
}


def encoded(name: str) -> bytes:
    kind, pixels = SENT[name]
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if kind == ".webp" else []
    return cv2.imencode(kind, pixels, lossless)[1].tobytes()


def snapshot(data: bytes, content_type: str) -> Script:
    return lambda _, viewer: viewer.answer(body=data, Content_Type=content_type)


def parts(data: bytes) -> Script:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        while True:
            viewer.part(data)
            viewer.pause(0.02)

    return script


@contextmanager
def opened(script: Script, **settings: Any) -> Iterator[OpenCVCamera]:
    with (
        HttpCamera(script) as camera,
        url_camera.opened(camera.url("/x"), **settings) as (driver, _),
    ):
        yield driver


@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize("way", ["image/png", "image/jpeg", "application/octet-stream", "parts"])
def test_a_png_or_webp_is_its_pixels(name: str, way: str) -> None:
    """Also where it is announced as something else."""
    data = encoded(name)
    with opened(parts(data) if way == "parts" else snapshot(data, way)) as driver:
        frame = driver.capture(Shot())
    assert frame.encoded is None
    assert np.array_equal(np.asarray(frame.pixels), SENT[name][1])


@pytest.mark.parametrize("name", ["colours", "WebP"])
def test_one_that_is_cut_or_damaged_is_refused(name: str) -> None:
    whole = encoded(name)
    damaged = [whole[:cut] for cut in (30, len(whole) // 2, len(whole) - 1)]
    if name == "colours":  # whose chunks have checksums
        damaged.append(whole[:900] + bytes([whole[900] ^ 1]) + whole[901:])
    for data in damaged:
        with (
            pytest.raises(DriverError, match="corrupt picture: the (PNG|WebP) of .* is damaged"),
            opened(snapshot(data, "image/png")),
        ):
            pass


def test_a_jpeg_that_begins_late_is_passed_on_from_its_begin() -> None:
    with opened(snapshot(b"\r\n\xff" + numbered(1), "image/jpeg")) as driver:
        assert driver.capture(Shot()).encoded == numbered(1)


@pytest.mark.parametrize("behind", [0, 1, 3])
def test_a_still_of_a_camera_that_keeps_pictures_in_store_is_made_after_the_call(
    behind: int,
) -> None:
    """As an ESP32 does, which makes its next pictures as soon as one has been taken."""
    made = itertools.count()
    store = deque(next(made) for _ in range(behind))

    def script(_: Request, viewer: Viewer) -> None:
        store.append(next(made))
        viewer.picture(numbered(store.popleft()))

    with opened(script, snapshots_behind=behind) as driver:
        for _ in range(3):
            first = next(made)
            assert (number_of(driver.capture(Shot()).encoded or b"") or 0) > first
        first = next(made)
        live = driver.read()
        assert live is not None
        is_older = (number_of(live.encoded or b"") or 0) < first
    assert is_older == (behind > 0), "live view asks once a picture"
