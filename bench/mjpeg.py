"""What a frame of MJPEG over HTTP costs the worker: passed through, against decoded and encoded.

Both read the same 1080p30 stream from a process of its own, one after the other; what counts is
this process's CPU time for each frame. It prints the ratio, which is to be at most 0.2; and what
part of the time goes into checking that a frame is whole: at most 3 % where a viewer has it scaled,
and more where passing through is all that there is to do.
"""

import argparse
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import cv2
import numpy as np

from bench.pictures import picture
from camsvc.config.cameras import parse_camera
from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.images import jpeg
from camsvc.ipc.messages import LiveEvent, SharedFrame
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.values import DeviceInfo, Frame, LiveVariant, Shot
from camsvc.worker.live import LiveReader

FPS, PICTURES, BOUND, CHECK_BOUND = 30, 8, 0.2, 0.03
SCALED_PX = 960
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 80]


def send() -> None:
    """Say the port; stream to everybody who connects, one after the other."""
    pictures = [
        cv2.imencode(".jpg", picture(1920, 1080, n), QUALITY)[1].tobytes() for n in range(PICTURES)
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            viewer, _ = listening.accept()
            try:
                _stream(viewer, pictures)
            except ConnectionError:
                viewer.close()


def _stream(viewer: socket.socket, pictures: list[bytes]) -> None:
    viewer.recv(1 << 16)
    viewer.sendall(
        b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n"
    )
    begun = time.monotonic()
    for number in range(1_000_000):
        time.sleep(max(0.0, begun + number / FPS - time.monotonic()))
        data = pictures[number % PICTURES]
        head = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
        viewer.sendall(head + data + b"\r\n")


class Decoding(Driver):
    """The same camera as OpenCV alone gives it: pixels, which the worker has to encode again."""

    name = "decoding"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._capture = cv2.VideoCapture(settings["source"], cv2.CAP_FFMPEG)

    def open(self) -> DeviceInfo:
        assert self._capture.isOpened()
        return DeviceInfo("", ["JPEG"])

    def capture(self, shot: Shot) -> Frame:
        ok, pixels = self._capture.read()
        assert ok
        return Frame(time.time_ns(), np.asarray(pixels, np.uint8))

    def read(self) -> Frame:
        return self.capture(Shot())

    def close(self) -> None:
        self._capture.release()


@contextlib.contextmanager
def timed_checks() -> Iterator[list[float]]:
    """Give a list that gets the CPU seconds of each walk through a JPEG."""
    took: list[float] = []
    read = jpeg.read

    def timed(data: bytes) -> jpeg.Jpeg:
        begun = time.thread_time()
        try:
            return read(data)
        finally:
            took.append(time.thread_time() - begun)

    with mock.patch.object(jpeg, "read", timed):
        yield took


def cpu_s(kind: type[Driver], url: str, frames: int, max_width_px: int | None = None) -> float:
    """Return the CPU seconds of a live frame, from the camera into the memory that is shared."""
    table = {"id": "camera", "driver": "opencv", "source": url}
    driver = kind(parse_camera(table).driver_settings(), DriverState())
    driver.open()
    sent = []

    def send(event: LiveEvent) -> None:
        assert isinstance(event, SharedFrame), event
        sent.append(event)
        reader.release([image.slot for image in event.images])

    reader = LiveReader(SharedBlock.create(), send)
    reader.want([LiveVariant(1, max_width_px)], driver)
    begun = time.process_time()
    for _ in range(frames):
        reader.read(driver)
    spent = time.process_time() - begun
    driver.close()
    assert len(sent) == frames
    return spent / frames


def main() -> int:
    """Measure both, and print them with their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300, help="of each")
    frames = parser.parse_args().frames
    cv2.setNumThreads(1)
    with subprocess.Popen(
        [sys.executable, "-c", "from bench.mjpeg import send; send()"],
        stdout=subprocess.PIPE,
        text=True,
    ) as sender:
        assert sender.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(sender.stdout.readline())}/"
            old_s = cpu_s(Decoding, url, frames)
            with timed_checks() as checks:
                new_s = cpu_s(OpenCVCamera, url, frames)
            with timed_checks() as scaled_checks:
                scaled_s = cpu_s(OpenCVCamera, url, frames, SCALED_PX)
        finally:
            sender.kill()
    print(f"{frames} frames of 1080p30 MJPEG over HTTP, CPU of the reading process for each:")
    print(f"  decoded and encoded by OpenCV: {old_s * 1e3:6.2f} ms")
    print(f"  passed through:                {new_s * 1e3:6.2f} ms")
    print(f"  ratio: {new_s / old_s:.3f} (at most {BOUND})")
    share = sum(checks) / frames / new_s
    print(f"  of that, its checks:           {share:6.1%}")
    print(f"  scaled to {SCALED_PX} px:             {scaled_s * 1e3:6.2f} ms")
    share = sum(scaled_checks) / frames / scaled_s
    print(f"  of that, its checks:           {share:6.1%} (at most {CHECK_BOUND:.0%})")
    return int(new_s / old_s > BOUND or share > CHECK_BOUND)


if __name__ == "__main__":
    sys.exit(main())
