"""What a test picture says of itself."""

import time

import cv2
import numpy as np
from camapi.v1 import camera_service_pb2 as api

from camsvc.drivers.simulated.test_picture import read_number


def number(response: api.CaptureResponse) -> int:
    """Return the frame number painted into a picture, which must be whole."""
    data, image = response.image_data, response.capture.image
    assert len(data) == image.size_bytes
    if image.mime_type == "image/jpeg":
        assert data.startswith(b"\xff\xd8")
        assert data.endswith(b"\xff\xd9")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape[:2] == (image.height_px, image.width_px)
    found = read_number(np.asarray(pixels, np.uint8))
    assert found is not None, "the picture's number is damaged"
    return found


def assert_fresh(response: api.CaptureResponse, *, asked_ns: int, newer_than: int) -> None:
    """The picture was taken after it was asked for, and no earlier one is shown again."""
    acquired_ns = response.capture.acquisition_time.ToNanoseconds()
    assert asked_ns <= acquired_ns <= time.time_ns()
    assert number(response) > newer_than
