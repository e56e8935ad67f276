"""The usual MJPEG endpoint, as FastAPI's tutorials write it: each viewer's generator encodes.

    python app.py PORT

Better than most of them in one thing: one thread reads the camera for all viewers, who would
otherwise take frames away from each other.
"""

import sys
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from bench.pictures import Source

app = FastAPI()
camera = Source()


class Latest:
    """The newest frame, for those who wait for it."""

    def __init__(self) -> None:
        self.frame, self.count = None, 0
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            _, frame = camera.read()
            with self.changed:
                self.frame, self.count = frame, self.count + 1
                self.changed.notify_all()

    def after(self, seen: int) -> "tuple[np.ndarray, int]":
        """Wait for a frame after the `seen`-th; return it with its number."""
        with self.changed:
            self.changed.wait_for(lambda: self.count > seen)
            return self.frame, self.count


latest = Latest()


def generate() -> Iterator[bytes]:
    """Yield one viewer's frames."""
    seen = 0
    while True:
        frame, seen = latest.after(seen)
        # The tutorials encode at OpenCV's default of 95; here it is what camsvc does.
        _, buffer = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80])
        yield b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + buffer.tobytes() + b"\r\n"


@app.get("/video_feed")
def video_feed() -> StreamingResponse:
    """Show the camera."""
    return StreamingResponse(generate(), media_type="multipart/x-mixed-replace; boundary=frame")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
