"""What a frame of MJPEG over HTTP costs the worker: passed through, against decoded and encoded.

Both read the same 1080p30 stream from a process of its own, one after the other; what counts is
this process's CPU time for each frame. It prints the ratio, which is to be at most 0.2.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from bench.pictures import picture
from camsvc.config.cameras import parse_camera
from camsvc.drivers.base import Driver, DriverState
from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.ipc.messages import LiveEvent, SharedFrame
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.values import DeviceInfo, Frame, LiveVariant, Shot
from camsvc.worker.live import LiveReader

FPS, PICTURES, BOUND = 30, 8, 0.2


def send() -> None:
    """Say the port; stream to everybody who connects, one after the other."""
    pictures = [cv2.imencode(".jpg", picture(1920, 1080, n))[1].tobytes() for n in range(PICTURES)]
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


def cpu_s(kind: type[Driver], url: str, frames: int) -> float:
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
    reader.want([LiveVariant(1)], driver)
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
            old_s, new_s = (cpu_s(kind, url, frames) for kind in (Decoding, OpenCVCamera))
        finally:
            sender.kill()
    print(f"{frames} frames of 1080p30 MJPEG over HTTP, CPU of the reading process for each:")
    print(f"  decoded and encoded by OpenCV: {old_s * 1e3:6.2f} ms")
    print(f"  passed through:                {new_s * 1e3:6.2f} ms")
    print(f"  ratio: {new_s / old_s:.3f} (at most {BOUND})")
    return int(new_s / old_s > BOUND)


if __name__ == "__main__":
    sys.exit(main())
