"""What a camera answers over HTTP: the request, with login and redirects, and what came of it.

Statuses are not guessed from a stream that does not open: each has its own error, named as soon as
the answer is there.
"""

import contextlib
import enum
import http.client
from collections.abc import Mapping
from typing import Any

from camsvc.drivers.opencv import address as addresses
from camsvc.drivers.opencv import answers, sent_picture
from camsvc.drivers.opencv.address import Address
from camsvc.drivers.opencv.connection import Connection
from camsvc.drivers.opencv.login import MOST_REQUESTS, Login
from camsvc.drivers.opencv.memory import Memory
from camsvc.model.errors import DeviceAway

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_DRAINED_BYTES = 64 << 10
_SHOWN = 60
_TEXTS = ("application/json", "application/xml")
_LISTS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "application/dash+xml")
_HEADERS = {
    "Accept": "multipart/x-mixed-replace, image/jpeg, */*;q=0.5",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Connection": "keep-alive",
    "User-Agent": "camsvc",
}


class Content(enum.Enum):
    """What an answer has in it."""

    PICTURE = "a JPEG, or another picture"
    PICTURES = "such pictures one after the other"
    VIDEO = "a live video, for FFmpeg"
    RECORDING = "a video with an end, or a list of such: FFmpeg asks for its parts itself"


class HttpSource:
    """A camera's URL. Requests follow each other, on one connection where the camera keeps it."""

    def __init__(self, settings: Mapping[str, Any], memory: Memory) -> None:
        self._address = addresses.parse(settings["source"])
        self._timeout_s: float = settings["read_timeout_s"]
        self._fingerprint: str | None = settings["tls_fingerprint"]
        self._memory = memory
        self._login: Login | None = None
        if self._address.user is not None:
            self._login = Login(self._address.user, self._address.password)
        self._connection: Connection | None = None

    def get(self) -> http.client.HTTPResponse:
        """Ask for the URL; return the answer to it, its content unread.

        Raises:
            DeviceAway: nobody answers, or says that it is a passing matter.
            DriverFault: it needs a person: the login, the path, the certificate.
        """
        self._memory.check()
        address = self._address
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(address)
            if answer.status not in _REDIRECTS:
                if answer.status != 200:
                    self.close()
                    raise answers.refusal(answer.status, answer.headers, self._memory)
                return answer
            try:
                address = address.redirected(answer.headers.get("Location", ""))
            except ValueError:
                self.close()
                raise self._memory.refusal("the camera redirects to no valid address") from None
            if address.scheme not in ("http", "https"):
                self.close()
                raise self._memory.refusal("the camera redirects to something other than HTTP")
            self._drain(answer)
        self.close()
        raise self._memory.refusal(
            f"the camera redirects without end (over {_MOST_REDIRECTS} times): use the URL of the "
            "picture or the stream itself"
        )

    def allow(self, seconds: float) -> None:
        """Give what comes next of the answer so much time, from now on."""
        if self._connection is not None:
            self._connection.allow(seconds)

    def close(self) -> None:
        """Close the connection; whoever reads from it gets its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def content(  # noqa: PLR0911 - a table of types, one return each
        self, answer: http.client.HTTPResponse
    ) -> Content:
        """Return what an answer has in it, by its type and, where that says little, by its begin.

        Raises:
            DriverFault, DeviceAway: no picture. It is closed then.
        """
        kind = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
        if kind.startswith("multipart/"):
            return Content.PICTURES
        if kind in sent_picture.MIME_TYPES:
            return Content.PICTURE
        if kind in _LISTS:
            return Content.RECORDING
        begin = self._begin(answer)
        if begin.startswith(b"--"):
            return Content.PICTURES
        if sent_picture.begins(begin) and not kind.startswith("video/"):
            return Content.PICTURE
        if begin.startswith(b"#EXTM3U"):
            return Content.RECORDING
        is_page = kind in ("text/html", "application/xhtml+xml") or b"<html" in begin.lower()
        if not (is_page or kind.startswith(("text/", "audio/", "image/")) or kind in _TEXTS):
            return Content.VIDEO if answer.length is None else Content.RECORDING
        self.close()
        if is_page:
            raise self._memory.refusal(
                "the camera answers with a web page, perhaps one to log in at, and not with a "
                "picture: use the URL of the picture or the stream itself"
            )
        raise self._memory.refusal(
            f"the camera answers with {kind[:_SHOWN]}, which is no JPEG, PNG or WebP: use the URL "
            "of the picture or the stream itself"
        )

    def _begin(self, answer: http.client.HTTPResponse) -> bytes:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return answer.peek(512)[:512].lstrip(b"\r\n\t ")
        return b""

    def _ask(self, address: Address) -> http.client.HTTPResponse:
        """Ask one server; answer its challenge where it has one."""
        login = self._login if address.user is not None else None
        for _ in range(MOST_REQUESTS):
            answer = self._request(address, login)
            if answer.status != 401:
                return answer
            challenges = answer.headers.get_all("WWW-Authenticate", [])
            if login is None or not login.accepts(challenges):
                break
            self._drain(answer)
        self.close()
        has_user = self._address.user is not None
        raise answers.login_refused(has_user, has_user and login is None)

    def _request(self, address: Address, login: Login | None) -> http.client.HTTPResponse:
        if self._connection is not None and self._connection.server != address.server:
            self.close()
        is_kept = self._connection is not None
        try:
            return self._try(address, login)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if is_kept and not isinstance(error, TimeoutError):  # closed by the camera meanwhile
                return self._request(address, login)
            raise _no_answer(error, self._timeout_s) from error

    def _try(self, address: Address, login: Login | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = Connection(
                address, timeout_s=self._timeout_s, fingerprint=self._fingerprint
            )
        headers = {"Host": address.authority, **_HEADERS}
        if login is not None and (authorization := login.header("GET", address.target)):
            headers["Authorization"] = authorization
        lines = [f"GET {address.target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        self._connection.allow(self._timeout_s)
        self._connection.send("\r\n".join([*lines, "", ""]).encode())
        # It asks its socket for nothing but `makefile`.
        answer = http.client.HTTPResponse(self._connection, method="GET")  # type: ignore[arg-type]
        answer.begin()
        return answer

    def _drain(self, answer: http.client.HTTPResponse) -> None:
        """Read what is left of a short answer, so that the connection can be used again."""
        if answer.will_close or (answer.length or 0) > _DRAINED_BYTES:
            self.close()
            return
        try:
            answer.read(_DRAINED_BYTES)
        except (OSError, http.client.HTTPException):
            self.close()
        if not answer.isclosed():
            self.close()


def _no_answer(error: Exception, timeout_s: float) -> DeviceAway:
    if isinstance(error, TimeoutError):
        return DeviceAway(
            f"the camera takes the connection, and does not answer within {timeout_s:g} s, its "
            "read_timeout_s"
        )
    if isinstance(error, http.client.BadStatusLine | http.client.LineTooLong) and not isinstance(
        error, http.client.RemoteDisconnected
    ):
        return DeviceAway("what answers at the address of the settings' `source` is not HTTP")
    return DeviceAway("the camera closed the connection without an answer")
