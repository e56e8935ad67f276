"""Picamera2 by itself, in one process: what a script of one's own would do.

Run by the rig's Python. Each line read is a command, each line printed its result, as JSON:
`still PATH` gives the seconds that a still took, `live SECONDS` the frames encoded and CPU seconds.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import cv2
from picamera2 import Picamera2

SIZE, LIVE_SIZE = (3280, 2464), (1280, 960)
QUALITY, LIVE_QUALITY = 90, 80


def jpeg(request, quality: int) -> bytes:
    """Return a picture as the JPEG that the service makes of it by default."""
    pixels = cv2.cvtColor(request.make_array("main"), cv2.COLOR_YUV2BGR_NV12)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def still(camera: Picamera2, path: str) -> float:
    """Take a picture that is begun from now on, and bring it safely to disk."""
    started = time.perf_counter()
    request = camera.capture_request(flush=True)
    data = jpeg(request, QUALITY)
    request.release()
    with Path(f"{path}.part").open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(f"{path}.part").rename(path)
    folder = os.open(Path(path).parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return time.perf_counter() - started


def live(camera: Picamera2, seconds: float) -> tuple[int, float]:
    """Encode every frame for a while."""
    before, frames, give_up = cpu_s(), 0, time.monotonic() + seconds
    while time.monotonic() < give_up:
        request = camera.capture_request()
        jpeg(request, LIVE_QUALITY)
        request.release()
        frames += 1
    return frames, cpu_s() - before


def cpu_s() -> float:
    """Return this process's user and system time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Open the camera, and do what is asked."""
    cv2.setNumThreads(1)
    number = [about["Id"] for about in Picamera2.global_camera_info()].index(sys.argv[1])
    camera = Picamera2(number)
    configurations = {
        "still": camera.create_still_configuration({"size": SIZE}, buffer_count=2),
        "live": camera.create_video_configuration({"size": LIVE_SIZE}, raw=None, buffer_count=4),
    }
    mode = ""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        kind, value = line.split(maxsplit=1)
        if kind != mode:
            camera.stop()
            camera.configure(configurations[kind])
            camera.start()
            mode = kind
        result = still(camera, value.strip()) if kind == "still" else live(camera, float(value))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
