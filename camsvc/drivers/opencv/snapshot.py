"""A URL that gives one picture for each request, as most cameras have."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import replace
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from camsvc.drivers.base import Driver
from camsvc.drivers.opencv import sent_picture
from camsvc.drivers.opencv.http_source import Content, HttpSource
from camsvc.drivers.opencv.memory import Memory
from camsvc.drivers.opencv.multipart import MAX_PART_BYTES
from camsvc.drivers.opencv.pace import Pace
from camsvc.drivers.opencv.repeats import Repeats
from camsvc.model.errors import DeviceAway, DriverError
from camsvc.model.values import DeviceInfo, Frame, Shot

_OLD_S = 10.0


class SnapshotSource(Driver):
    """One request a picture: a still's after the call, those of live view at a bounded rate."""

    name = "opencv"

    def __init__(
        self,
        settings: Mapping[str, Any],
        memory: Memory,
        http: HttpSource,
        answer: http.client.HTTPResponse,
    ) -> None:
        self._http = http
        self._memory = memory
        self._answer = answer
        self._interval_s = 1 / settings["snapshot_fps"]
        self._pace = Pace(settings["read_timeout_s"])
        self._repeats = Repeats(settings["repeat_limit"])
        self._behind: int = settings["snapshots_behind"]
        self._unsettled: int = settings["warmup_frames"]
        self._ages = _Ages()
        self._asked_at = 0.0
        self._took_s = 0.0
        self._size = (0, 0)
        self._fourcc = "JPEG"
        self._info: DeviceInfo | None = None

    def open(self) -> DeviceInfo:
        """Look at the first picture.

        Raises: as `capture`.
        """
        self._picture(self._answer)
        for _ in range(self._unsettled):
            self._asked()
        self._info = self._described()
        return self._info

    def capture(self, shot: Shot) -> Frame:
        """Ask for a picture; where the camera has some in store, for one made after the call.

        Raises:
            DeviceAway, DriverFault: the camera does not give one; see `HttpSource.get`.
            DriverError: it is damaged, or the last one over and over.
        """
        begun = time.monotonic()
        for _ in range(self._behind):
            self._asked()
        frame = self._asked()
        self._took_s = time.monotonic() - begun
        return frame

    def read(self) -> Frame | None:
        now = time.monotonic()
        due = max(self._asked_at + self._interval_s, now)
        if self.interrupt.wait(due - now):
            return None
        self._asked_at = due
        return self._asked()

    def health_check(self) -> DeviceInfo | None:
        """Report what the last pictures have shown; the camera is not asked."""
        found = self._described()
        if self._info is None or replace(found, expected_capture_s=0) == replace(
            self._info, expected_capture_s=0
        ):
            return None
        self._info = found
        return found

    def close(self) -> None:
        self._http.close()

    def _asked(self) -> Frame:
        return self._picture(self._http.get())

    def _picture(self, answer: http.client.HTTPResponse) -> Frame:
        acquired_ns = time.time_ns()
        if self._http.content(answer) is not Content.PICTURE:
            self._http.close()
            raise DeviceAway("the camera answers with something else than a picture now")
        data = self._body(answer)
        frame, self._size = sent_picture.frame(acquired_ns, data)
        self._fourcc = "JPEG" if frame.pixels is None else ""
        self._ages.note(answer.headers, data)
        if (too_many := self._repeats.note(data)) is not None:
            raise too_many
        self._memory.note_working()
        return frame

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        limit_s = self._pace.limit_s
        self._http.allow(limit_s)
        try:
            data = answer.read(MAX_PART_BYTES + 1)
        except TimeoutError:
            self._http.close()
            raise DeviceAway(
                f"the camera's picture was not whole within {limit_s:g} s, three times its "
                "read_timeout_s"
            ) from None
        except http.client.IncompleteRead as cut:
            self._http.close()
            data = cut.partial
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise DeviceAway("the connection to the camera broke off in a picture") from error
        if not answer.isclosed():
            self._http.close()
        if len(data) > MAX_PART_BYTES:
            raise DriverError(f"the camera sent over {MAX_PART_BYTES >> 20} MiB as one picture")
        if answer.will_close:
            self._http.close()
        return data

    def _described(self) -> DeviceInfo:
        width, height = self._size
        return DeviceInfo(
            model="snapshot url",
            formats=["JPEG", "PNG"],
            sizes=[self._size],
            capture_during_live_view=True,  # a still is a request like the others
            expected_capture_s=0.05 + self._took_s,
            details={
                "backend": "HTTP",
                "size": f"{width}x{height}",
                "fps": f"{1 / self._interval_s:g}",
                "fourcc": self._fourcc,
                "integrity": "each picture is checked",
            },
            warnings=[*self._repeats.warnings, *self._ages.warnings],
            max_silence_s=self._pace.limit_s,
        )


class _Ages:
    """Whether a server says itself that its pictures are old."""

    def __init__(self) -> None:
        self._age_s = 0.0
        self._last: tuple[str, bytes] | None = None
        self._is_believed = True

    def note(self, headers: Message, data: bytes) -> None:
        modified = headers.get("Last-Modified", "")
        if self._last is not None and self._last[0] == modified and self._last[1] != data:
            self._is_believed = False  # it says so of different pictures
        self._last = modified, data
        self._age_s = 0.0
        try:
            self._age_s = float(headers.get("Age", "0"))
            if modified and self._is_believed:
                since = parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(
                    modified
                )
                self._age_s = max(self._age_s, since.total_seconds())
        except (ValueError, TypeError):
            return

    @property
    def warnings(self) -> list[str]:
        if self._age_s <= _OLD_S:
            return []
        return [
            "the server says of its picture that it was made before it was asked for: it comes "
            "from a cache or a file that something else writes; look how often that is"
        ]
