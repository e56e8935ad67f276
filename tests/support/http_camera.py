"""A camera that speaks HTTP, or what it takes for it, by a test's script; and its pictures."""

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Self

import cv2
import numpy as np

BOUNDARY = b"--frame"


@dataclass(frozen=True)
class Request:
    """What was asked for; header names are in small letters."""

    target: str
    headers: Mapping[str, str]
    connection: int
    """Which connection it came by."""


class Viewer:
    """Who asked, as the script sees it."""

    def __init__(self, connection: socket.socket, camera: "HttpCamera") -> None:
        self._connection = connection
        self._camera = camera

    def send(self, *data: bytes) -> None:
        """Send bytes; those of a `numbered` picture are noted with their time."""
        for piece in data:
            if (number := number_of(piece)) is not None:
                self._camera.sent[number] = time.monotonic()
            self._connection.sendall(piece)

    def answer(self, status: str = "200 OK", body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; an underscore in a header's name stands for a dash."""
        given = {"Content_Length": str(len(body)), **headers}
        lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in given.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def picture(self, data: bytes, **headers: str) -> None:
        """Answer with a JPEG."""
        self.answer("200 OK", data, Content_Type="image/jpeg", **headers)

    def begin_stream(self, content_type: str = "multipart/x-mixed-replace; boundary=frame") -> None:
        """Send the header of a stream."""
        self.send(f"HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode())

    def part(self, data: bytes, *, length: int | None = -1, boundary: bytes = BOUNDARY) -> None:
        """Send one part of it; `length` -1: the true one, None: none."""
        told = len(data) if length == -1 else length
        header = b"" if told is None else b"Content-Length: %d\r\n" % told
        self.send(boundary + b"\r\nContent-Type: image/jpeg\r\n" + header + b"\r\n", data, b"\r\n")

    def pause(self, seconds: float) -> None:
        """Send nothing for a while; until the test ends at most."""
        if self._camera.stopping.wait(seconds):
            raise ConnectionAbortedError

    def hang(self) -> None:
        """Send nothing any more."""
        self.pause(3600)


Script = Callable[[Request, Viewer], None]
"""Answers one request; a connection goes on after it, unless it raises `ConnectionError`."""


class HttpCamera:
    """Listens on this machine. Use as `with`."""

    def __init__(
        self, script: Script, *, port: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self._port = port
        self._context = context
        self.requests: list[Request] = []
        self.connections = 0
        self.sent: dict[int, float] = {}
        """When each numbered picture began to be sent, in seconds of the monotonic clock."""
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", self._port))
        self.port = self._listening.getsockname()[1]
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def url(self, target: str = "/", *, login: str = "", host: str = "127.0.0.1") -> str:
        """Return the URL of a path; `login` is user:password."""
        scheme = "https" if self._context else "http"
        return f"{scheme}://{login}{'@' if login else ''}{host}:{self.port}{target}"

    @property
    def logins(self) -> int:
        """How many requests had a password."""
        return sum("authorization" in request.headers for request in self.requests)

    def _begin(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.stopping.is_set():
                connection, _ = self._listening.accept()
                self.connections += 1
                self._open.add(connection)
                self._begin(functools.partial(self._serve, connection, self.connections))

    def _serve(self, plain: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(self._open.discard, plain)
            connection = stack.enter_context(plain)
            if self._context:
                connection = stack.enter_context(self._context.wrap_socket(plain, server_side=True))
            incoming = stack.enter_context(connection.makefile("rb"))
            while (request := _request(incoming, number)) is not None:
                self.requests.append(request)
                self._script(request, Viewer(connection, self))


def _request(incoming: BinaryIO, number: int) -> Request | None:
    lines = []
    while line := incoming.readline().decode(errors="replace").strip():
        lines.append(line)
    if not lines or not lines[0].startswith("GET "):
        return None
    pairs = (line.split(": ", 1) for line in lines[1:])
    return Request(lines[0].split()[1], {k.lower(): v for k, v in pairs}, number)


@functools.cache
def _jpeg(width: int, height: int) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


_MARK = b"picture number "


def numbered(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a JPEG that has a number in a comment."""
    text = _MARK + b"%08d" % number
    jpeg = _jpeg(*size)
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def number_of(data: bytes) -> int | None:
    """Return the number of a picture, if it is one of these."""
    at = data.find(_MARK, 0, 4096)
    return None if at < 0 else int(data[at + len(_MARK) :][:8])


def streaming(
    fps: float, *, burst: int = 1, size: tuple[int, int] = (64, 48), length: int | None = -1
) -> Script:
    """Return the script of a camera that streams, `burst` pictures at a time."""

    def script(_: Request, viewer: Viewer) -> None:
        viewer.begin_stream()
        begun = time.monotonic()
        for number in range(1_000_000):
            if number % burst == 0:
                viewer.pause(max(0.0, begun + number / fps - time.monotonic()))
            viewer.part(numbered(number, size), length=length)

    return script
