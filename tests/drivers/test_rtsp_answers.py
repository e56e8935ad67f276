"""What RTSP servers say of a source, told apart before OpenCV opens it."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from camsvc.drivers.base import DriverState
from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from tests.support.canary import CANARY
from tests.support.settings import resolved
from tests.support.timing import timing

DIGEST = 'WWW-Authenticate: Digest realm="x", nonce="abc", stale="FALSE"\r\n'
ANSWERS: dict[str, tuple[str, type[Exception], str]] = {
    "401": (f"401 Unauthorized\r\n{DIGEST}", DriverFault, "refuses the user or the password"),
    "401 for ever": (
        f"401 Unauthorized\r\n{DIGEST.replace('FALSE', 'TRUE')}",
        DriverFault,
        "refuses the user or the password",
    ),
    "403": ("403 Forbidden\r\n", DriverFault, r"\(403\)"),
    "404": ("404 Not Found\r\n", DeviceAway, r"nothing at the path .*\(404\)"),
    "453": ("453 Not Enough Bandwidth\r\n", DeviceAway, r"left alone .*\(453"),
    "454": ("454 Session Not Found\r\n", DeviceAway, r"\(454"),
    "500": ("500 Internal Server Error\r\n", DeviceAway, r"error of its own \(500\)"),
    "503": ("503 Service Unavailable\r\nRetry-After: 5\r\n", DeviceAway, r"left alone .*\(503"),
    "asked otherwise": ("501 Not Implemented\r\n", DriverError, "did not open"),
}


@contextlib.contextmanager
def server(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answer every request alike; give the port, and what was asked."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(ConnectionError):
                    while data := connection.recv(1 << 16):
                        asked.append(data)
                        connection.sendall(answer)
                        if not answer.startswith(b"RTSP"):
                            break

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1], asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()


def open_(url: str) -> None:
    driver = OpenCVCamera(resolved("opencv", source=url, read_timeout_s=0.8), DriverState())
    try:
        driver.open()
    finally:
        driver.close()


@pytest.mark.timed
@pytest.mark.parametrize("name", ANSWERS)
def test_each_answer_has_its_name(name: str) -> None:
    status, kind, message = ANSWERS[name]
    with (
        server(f"RTSP/1.0 {status}CSeq: 1\r\n\r\n".encode()) as (port, asked),
        timing(os.getpid()) as took,
        pytest.raises(kind, match=message) as caught,
    ):
        open_(f"rtsp://admin:{CANARY}@127.0.0.1:{port}/live?channel=1")
    assert caught.type is kind
    assert CANARY not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    took.assert_within(1.0)
    requests = b"".join(asked)
    assert requests.startswith(b"DESCRIBE rtsp://127.0.0.1:%d/live?channel=1 RTSP/1.0" % port)
    assert requests.count(b"Authorization") == {"401": 1, "401 for ever": 2}.get(name, 0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not RTSP"),
        (b"RTSP/1.0 what\r\n\r\n", "is not RTSP"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: x\r\n\r\n", "is not RTSP"),
    ],
)
def test_what_speaks_no_rtsp(answer: bytes, message: str) -> None:
    with server(answer) as (port, _), pytest.raises(DeviceAway, match=message):
        open_(f"rtsp://127.0.0.1:{port}/live")
