"""MJPEG over HTTP: the camera's own JPEGs, checked and passed on as they are."""

import http.client
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from camsvc.drivers.opencv import sent_picture
from camsvc.drivers.opencv.http_source import Content, HttpSource
from camsvc.drivers.opencv.multipart import Multipart, Part
from camsvc.model.errors import DeviceAway
from camsvc.model.values import Frame

_CHUNK_BYTES = 256 << 10


class MultipartStream:
    """The parts of a multipart answer; when it ends, it is asked for again."""

    def __init__(
        self, settings: Mapping[str, Any], http: HttpSource, answer: http.client.HTTPResponse
    ) -> None:
        self.details = {"backend": "HTTP", "fourcc": "MJPG", "integrity": "each picture is checked"}
        self.size = (0, 0)
        self._http = http
        self._least_s = 1 / settings["snapshot_fps"]
        self._parts: deque[Part] = deque()
        self._stopped = False
        self._begin(answer)

    def wait(self, limit_s: float) -> int:
        while not self._parts:
            self._receive(limit_s)
        self._part = self._parts.popleft()
        return self._part.begun_ns

    def take(self) -> Frame:
        frame, self.size = sent_picture.frame(0, self._part.data)
        self.details["fourcc"] = "MJPG" if frame.pixels is None else ""
        return frame

    def stop(self) -> None:
        self._stopped = True
        self._http.close()

    def close(self) -> None:
        self._http.close()

    def _begin(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer
        self._began_at = time.monotonic()
        self._has_given = False
        self._multipart = Multipart(str(answer.headers.get_param("boundary") or ""))

    def _receive(self, limit_s: float) -> None:
        self._http.allow(limit_s)
        try:
            data = self._answer.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError):
                raise
            raise DeviceAway("the connection to the camera broke off") from error
        self._parts.extend(self._multipart.feed(data, time.monotonic_ns()))
        self._has_given |= bool(self._parts)
        if not data:
            self._ask_again()

    def _ask_again(self) -> None:
        """Ask again: some cameras end their stream after a while, or after each picture."""
        if self._stopped or not self._has_given:
            raise DeviceAway("the camera ended its stream")
        time.sleep(max(0.0, self._began_at + self._least_s - time.monotonic()))
        self._http.close()
        answer = self._http.get()
        if self._http.content(answer) is not Content.PICTURES:
            self._http.close()
            raise DeviceAway("the camera answers with something else than its stream now")
        self._begin(answer)
