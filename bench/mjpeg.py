"""What a frame of MJPEG over HTTP costs the worker: passed through, against decoded and encoded.

Both read the same 1080p30 stream from a process of its own, one after the other; what counts is
this process's CPU time for each frame. It prints the ratio, which is to be at most 0.2.
"""

import argparse
import socket
import subprocess
import sys
import time

import cv2
import numpy as np

from bench.pictures import picture
from camsvc.config.cameras import parse_camera
from camsvc.drivers.base import DriverState
from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.images import codec
from camsvc.model.values import LiveVariant

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


def passed_through(url: str, frames: int) -> float:
    """Return the CPU seconds of a frame by the driver, as the worker hands it over."""
    table = {"id": "camera", "driver": "opencv", "source": url}
    driver = OpenCVCamera(parse_camera(table).driver_settings(), DriverState())
    driver.open()
    begun = time.process_time()
    for _ in range(frames):
        frame = driver.read()
        assert frame is not None
        for output in codec.outputs(frame, [LiveVariant(1)]):
            assert codec.render(frame, output) is frame.encoded
    spent = time.process_time() - begun
    driver.close()
    return spent / frames


def decoded(url: str, frames: int) -> float:
    """Return the CPU seconds of a frame by OpenCV, decoded and encoded again."""
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    assert capture.isOpened()
    begun = time.process_time()
    for _ in range(frames):
        ok, pixels = capture.read()
        assert ok
        codec.encode(np.asarray(pixels, np.uint8), codec.JPEG, codec.DEFAULT_LIVE_QUALITY_PERCENT)
    spent = time.process_time() - begun
    capture.release()
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
            old_s, new_s = decoded(url, frames), passed_through(url, frames)
        finally:
            sender.kill()
    print(f"{frames} frames of 1080p30 MJPEG over HTTP, CPU of the reading process for each:")
    print(f"  decoded and encoded by OpenCV: {old_s * 1e3:6.2f} ms")
    print(f"  passed through:                {new_s * 1e3:6.2f} ms")
    print(f"  ratio: {new_s / old_s:.3f} (at most {BOUND})")
    return int(new_s / old_s > BOUND)


if __name__ == "__main__":
    sys.exit(main())
