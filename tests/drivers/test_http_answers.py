"""What servers say instead of a picture: each cause has its name, at once, and the right class."""

import base64
import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from camsvc.drivers.base import DriverState
from camsvc.drivers.opencv.camera import OpenCVCamera
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import Frame, Shot
from tests.support.canary import CANARY
from tests.support.http_camera import (
    HttpCamera,
    Request,
    Script,
    Viewer,
    number_of,
    numbered,
    streaming,
)
from tests.support.once import made_once
from tests.support.ports import held_port
from tests.support.settings import resolved
from tests.support.timing import timing
from tests.support.url_camera import opened

USER, PASSWORD = "us жr", f"p@ss/w%rd:#?{CANARY}"
ENCODED = f"us%20%D0%B6r:p%40ss%2Fw%25rd%3A%23%3F{CANARY}"


class Kept(DriverState):
    """What a driver leaves for the next one, as the service keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.save = self._keep

    def _keep(self, value: bytes) -> None:
        self.value = value


def number(frame: Frame | None) -> int:
    assert frame is not None
    found = number_of(frame.encoded or b"")
    assert found is not None
    assert frame.encoded == numbered(found)
    return found


def said(status: str, body: bytes = b"", **headers: str) -> Script:
    return lambda _, viewer: viewer.answer(status, body, **headers)


def hangs_up(_: Request, viewer: Viewer) -> None:
    raise ConnectionAbortedError


def no_http(_: Request, viewer: Viewer) -> None:
    viewer.send(b"SSH-2.0-OpenSSH_9.2\r\n")


PAGE = b"<!DOCTYPE html><html><body><form>Log in</form></body></html>"
LOOP = said("302 Found", Location="/x")
ANSWERS: dict[str, tuple[Script, type[Exception], str]] = {
    "401": (said("401 Unauthorized", WWW_Authenticate="Basic"), DriverFault, "asks for a user"),
    "403": (said("403 Forbidden"), DriverFault, r"forbids this user the picture \(403\)"),
    "404": (said("404 Not Found", b"no"), DriverFault, r"nothing at the path .* \(404\)"),
    "410": (said("410 Gone"), DriverFault, r"\(410\)"),
    "400": (said("400 Bad Request"), DriverFault, r"refuses the request \(400\)"),
    "408": (said("408 Request Timeout"), DeviceAway, r"\(408"),
    "429": (said("429 Too Many Requests", Retry_After="2"), DeviceAway, r"left alone .*\(429"),
    "503": (said("503 Service Unavailable"), DeviceAway, r"left alone .*\(503"),
    "500": (said("500 Internal Server Error"), DeviceAway, r"error of its own \(500\)"),
    "502": (said("502 Bad Gateway"), DeviceAway, r"error of its own \(502\)"),
    "204": (said("204 No Content"), DeviceAway, r"no picture \(204\)"),
    "page": (said("200 OK", PAGE, Content_Type="text/html"), DriverFault, "with a web page"),
    "page without a type": (said("200 OK", PAGE), DriverFault, "with a web page"),
    "text": (said("200 OK", b"ok", Content_Type="text/plain"), DriverFault, "with text/plain"),
    "JSON": (said("200 OK", b"{}", Content_Type="application/json"), DriverFault, "/json"),
    "SVG": (said("200 OK", b"<svg/>", Content_Type="image/svg+xml"), DriverFault, "image/svg"),
    "sound": (said("200 OK", b"RIFF", Content_Type="audio/wav"), DriverFault, "with audio/wav"),
    "loop": (LOOP, DriverFault, "redirects without end"),
    "nowhere": (
        said("302 Found", Location="http://x:99999/"),
        DriverFault,
        "redirects to no valid",
    ),
    "ftp": (said("302 Found", Location="ftp://x/y"), DriverFault, "other than HTTP"),
    "hangs up": (hangs_up, DeviceAway, "closed the connection without an answer"),
    "no HTTP": (no_http, DeviceAway, "is not HTTP"),
    "half a picture": (
        lambda _, viewer: viewer.picture(numbered(1)[:900]),
        DriverError,
        "corrupt picture",
    ),
    "nothing": (lambda _, viewer: viewer.picture(b""), DriverError, "corrupt picture"),
    "no video": (
        said("200 OK", bytes(range(256)) * 9, Content_Type="application/octet-stream"),
        DriverError,
        "did not open",
    ),
}


@pytest.mark.timed
@pytest.mark.parametrize("name", ANSWERS)
def test_each_answer_has_its_name(name: str) -> None:
    script, kind, message = ANSWERS[name]
    with (
        HttpCamera(script) as camera,
        timing(os.getpid()) as took,
        pytest.raises(kind, match=message) as caught,
        opened(camera.url(f"/x?token={CANARY}")),
    ):
        pass
    assert caught.type is kind
    assert "127.0.0.1" not in str(caught.value)
    assert CANARY not in str(caught.value)
    took.assert_within(1.0)


@pytest.mark.timed
def test_what_is_not_there_has_its_name() -> None:
    with held_port() as port, timing(os.getpid()) as took:
        for scheme in ("http", "rtsp"):
            url = f"{scheme}://user:{CANARY}@127.0.0.1:{port}/x"
            with pytest.raises(DeviceAway, match="refuses the connection") as caught, opened(url):
                pass
            assert CANARY not in str(caught.value)
            with (
                pytest.raises(DeviceAway, match="host of the settings' `source` is unknown"),
                opened(f"{scheme}://camera.invalid/x"),
            ):
                pass
    took.assert_within(2.0)


@pytest.mark.timed
@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_server_that_says_nothing_is_given_up(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x"
        with (
            timing(os.getpid()) as took,
            pytest.raises(DeviceAway, match=r"does not answer within 0\.5 s, its read_timeout_s"),
            opened(url, read_timeout_s=0.5),
        ):
            pass
        took.assert_within(1.0)


@pytest.mark.timed
def test_a_server_that_drips_its_header_is_given_up() -> None:
    def script(_: Request, viewer: Viewer) -> None:
        viewer.send(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            viewer.send(b"x")
            viewer.pause(0.05)

    with (
        HttpCamera(script) as camera,
        timing(os.getpid()) as took,
        pytest.raises(DeviceAway, match=r"does not answer within 0\.5 s"),
        opened(camera.url(), read_timeout_s=0.5),
    ):
        pass
    took.assert_within(1.0)


def test_a_refusal_is_passing_where_the_source_has_worked() -> None:
    """A camera that is starting answers 404 for a while, or with a page."""
    state, script = Kept(), streaming(50)
    for answer in (None, "404", "page", "401"):
        with HttpCamera(ANSWERS[answer][0] if answer else script) as camera:
            if answer is None:
                with opened(camera.url(), state) as (driver, _):
                    driver.capture(Shot())
                continue
            kind = DriverFault if answer == "401" else DeviceAway
            with pytest.raises(kind, match=ANSWERS[answer][2]), opened(camera.url(), state):
                pass


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "2"},
        {
            "Retry_After": "Sun, 29 Nov 2026 10:00:02 GMT",
            "Date": "Sun, 29 Nov 2026 10:00:00 GMT",
        },
    ],
)
def test_a_server_that_asks_to_be_left_alone_is(headers: dict[str, str]) -> None:
    state = Kept()
    with HttpCamera(said("503 Service Unavailable", b"", **headers)) as camera:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            with pytest.raises(DeviceAway, match="left alone"), opened(camera.url(), state):
                pass
        assert len(camera.requests) == 1


@pytest.mark.parametrize("asked", ["", "soon", "-1", "1e9", "\xb2", "Sun, 29 Nov 2026 10:00:02"])
def test_a_server_that_does_not_say_for_how_long_is_asked_again(asked: str) -> None:
    state = Kept()
    with HttpCamera(said("503 Service Unavailable", Retry_After=asked)) as camera:
        for _ in range(2):
            with pytest.raises(DeviceAway, match="left alone"), opened(camera.url(), state):
                pass
        assert len(camera.requests) == 2


# Logins. The server checks what it is sent by its own reckoning.


def basic(request: Request) -> bool:
    sent = request.headers.get("authorization", "")
    return sent == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def digest(request: Request, algorithm: str = "MD5", nonce: str = "abc") -> bool:
    kind, _, text = request.headers.get("authorization", " ").partition(" ")
    values = urllib.request.parse_keqv_list(urllib.request.parse_http_list(text)) if text else {}
    if kind != "Digest" or values["nonce"] != nonce or values["uri"] != request.target:
        return False
    assert values["username"] == USER

    def hashed(text: str) -> str:
        return hashlib.new("sha256" if "256" in algorithm else "md5", text.encode()).hexdigest()

    secret = hashed(f"{USER}:cam:{PASSWORD}")
    if algorithm.endswith("-sess"):
        secret = hashed(f"{secret}:{nonce}:{values['cnonce']}")
    middle = f"{nonce}"
    if "qop" in values:
        middle += f":{values['nc']}:{values['cnonce']}:auth"
    return values["response"] == hashed(f"{secret}:{middle}:{hashed(f'GET:{request.target}')}")


def asking(challenge: str, knows: Callable[[Request], bool]) -> Script:
    """Return the script of a camera that gives snapshots to those who log in."""
    count = iter(range(1_000_000))

    def script(request: Request, viewer: Viewer) -> None:
        if knows(request):
            viewer.picture(numbered(next(count)))
        else:
            viewer.answer("401 Unauthorized", b"no", WWW_Authenticate=challenge)

    return script


QOP = 'Digest realm="cam", nonce="abc", qop="auth"'
CHALLENGES: dict[str, tuple[str, Callable[[Request], bool]]] = {
    "Basic": ('Basic realm="a, b"', basic),
    "Digest": (f"{QOP}, opaque=xyz", digest),
    "Digest of old": ('Digest realm="cam", nonce="abc"', digest),
    "Digest, two kinds": ('Digest realm="cam",nonce="abc",qop="auth,auth-int"', digest),
    "SHA-256": (f"{QOP}, algorithm=SHA-256", lambda r: digest(r, "SHA-256")),
    "MD5-sess": (f"{QOP}, algorithm=MD5-sess", lambda r: digest(r, "MD5-sess")),
    "the better of both": (f'Basic realm="cam", {QOP}', digest),
    "one that is known": (f"Negotiate, NTLM, {QOP}", digest),
}


@pytest.mark.parametrize("name", CHALLENGES)
def test_logins(name: str) -> None:
    """User and password are percent-decoded, and sent once they are asked for."""
    with (
        HttpCamera(asking(*CHALLENGES[name])) as camera,
        opened(camera.url("/s?a=1&b=%20", login=ENCODED)) as (driver, _),
    ):
        assert [number(driver.capture(Shot())) for _ in range(3)] == [1, 2, 3]
    assert len(camera.requests) == 5, "one challenge for all"
    assert camera.connections == 1


@pytest.mark.parametrize("name", CHALLENGES)
def test_a_wrong_password_is_tried_once(name: str) -> None:
    challenge, knows = CHALLENGES[name]
    with (
        HttpCamera(asking(challenge, knows)) as camera,
        pytest.raises(DriverFault, match="refuses the user or the password") as caught,
        opened(camera.url("/s", login=f"us%20%D0%B6r:{CANARY}")),
    ):
        pass
    assert camera.logins == 1
    assert CANARY not in str(caught.value)


def test_a_server_that_always_takes_its_nonce_for_too_old_gets_two_logins() -> None:
    script = asking(f"{QOP}, stale=true", lambda _: False)
    with (
        HttpCamera(script) as camera,
        pytest.raises(DriverFault, match="refuses the user or the password"),
        opened(camera.url("/s", login=ENCODED)),
    ):
        pass
    assert camera.logins == 2


def test_a_login_of_no_known_kind() -> None:
    script = asking('NTLM, Digest realm="cam", nonce="a", algorithm=WHIRLPOOL', basic)
    with (
        HttpCamera(script) as camera,
        pytest.raises(DriverFault, match="401"),
        opened(camera.url("/s", login=ENCODED)),
    ):
        pass
    assert camera.logins == 0


def test_a_nonce_that_has_become_too_old_is_no_wrong_password() -> None:
    count = iter(range(1_000_000))
    good = {0: "abc"}

    def script(request: Request, viewer: Viewer) -> None:
        nonce = good[0]
        if not digest(request, nonce=nonce):
            challenge = f'Digest realm="cam", nonce="{nonce}", qop="auth"'
            viewer.answer("401 Unauthorized", WWW_Authenticate=challenge)
            return
        viewer.picture(numbered(next(count)))
        good[0] = f"{nonce}x"

    with HttpCamera(script) as camera, opened(camera.url("/s", login=ENCODED)) as (driver, _):
        assert [number(driver.capture(Shot())) for _ in range(3)] == [1, 2, 3]


# Redirects.


def test_a_redirect_on_the_same_server_keeps_the_login() -> None:
    count = iter(range(1_000_000))

    def script(request: Request, viewer: Viewer) -> None:
        if request.target == "/x":
            viewer.answer("301 Moved", b"there", Location="/y?z=1")
        elif basic(request):
            viewer.picture(numbered(next(count)))
        else:
            viewer.answer("401 Unauthorized", WWW_Authenticate="Basic")

    with HttpCamera(script) as camera, opened(camera.url("/x", login=ENCODED)) as (driver, _):
        assert number(driver.capture(Shot())) == 1


def test_no_password_is_sent_to_another_server() -> None:
    with HttpCamera(asking("Basic", basic)) as other:
        here = said("302 Found", Location=other.url("/s"))
        with (
            HttpCamera(here) as camera,
            pytest.raises(DriverFault, match="redirects to another server"),
            opened(camera.url("/x", login=ENCODED)),
        ):
            pass
    assert other.logins == 0
    assert len(other.requests) == 1


def test_another_server_that_asks_for_no_login_is_fine() -> None:
    with HttpCamera(streaming(50)) as other:
        here = said("302 Found", Location=other.url("/s"))
        with (
            HttpCamera(here) as camera,
            opened(camera.url("/x", login=ENCODED)) as (driver, _),
        ):
            number(driver.capture(Shot()))


# TLS.


def _certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *files, "-subj", "/CN=cam"], check=True, capture_output=True)


@pytest.fixture
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = made_once(tmp_path_factory, "certificate", _certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_a_certificate_of_the_cameras_own(context: ssl.SSLContext) -> None:
    """The message has what to set; with that, the camera is known from any other."""
    with HttpCamera(streaming(50), context=context) as camera:
        url = camera.url("/x", login=f"user:{CANARY}")
        with pytest.raises(DriverFault, match="certificate is not trusted") as caught, opened(url):
            pass
        told = str(caught.value).rpartition(" ")[2]
        with opened(url, tls_fingerprint=told) as (driver, _):
            number(driver.capture(Shot()))
        upper = ":".join(told[at : at + 2] for at in range(0, 64, 2)).upper()
        with opened(url, tls_fingerprint=upper) as (driver, _):
            number(driver.capture(Shot()))
        with (
            pytest.raises(DriverFault, match="another one than tls_fingerprint"),
            opened(url, tls_fingerprint="0" * 64),
        ):
            pass


def test_a_server_without_tls() -> None:
    with (
        HttpCamera(streaming(50)) as camera,
        pytest.raises(DeviceAway, match="does not speak TLS .* http://"),
        opened(camera.url().replace("http:", "https:"), read_timeout_s=0.5),
    ):
        pass


# Snapshots.


def snapshots(**headers: str) -> Script:
    count = iter(range(1_000_000))

    def script(_: Request, viewer: Viewer) -> None:
        viewer.picture(numbered(next(count)), **headers)

    return script


@pytest.mark.parametrize("kept", [True, False])
def test_a_still_is_a_request_of_its_own(kept: bool) -> None:
    headers = {} if kept else {"Connection": "close"}
    with HttpCamera(snapshots(**headers)) as camera, opened(camera.url()) as (driver, info):
        for _ in range(20):
            asked_s, asked_ns = time.monotonic(), time.time_ns()
            frame = driver.capture(Shot())
            assert camera.sent[number(frame)] >= asked_s
            assert frame.acquisition_time_ns >= asked_ns
    assert len(camera.requests) == 21
    assert camera.connections == (1 if kept else 21)
    assert info.details["size"] == "64x48"
    assert camera.requests[0].headers["cache-control"] == "no-cache"


def test_a_connection_that_the_camera_closed_meanwhile_is_made_anew() -> None:
    count = iter(range(1_000_000))

    def script(request: Request, viewer: Viewer) -> None:
        viewer.picture(numbered(next(count)))
        raise ConnectionAbortedError

    with HttpCamera(script) as camera, opened(camera.url()) as (driver, _):
        assert [number(driver.capture(Shot())) for _ in range(3)] == [1, 2, 3]


@pytest.mark.timed
def test_live_view_asks_no_more_often_than_it_may() -> None:
    with (
        HttpCamera(snapshots()) as camera,
        opened(camera.url(), snapshot_fps=20) as (driver, _),
    ):
        begun = time.monotonic()
        with timing(os.getpid()) as took:
            for _ in range(11):
                number(driver.read())
        assert time.monotonic() - begun >= 10 / 20
        took.assert_within(1.0)


def test_waiting_for_the_next_request_is_broken_off() -> None:
    with HttpCamera(snapshots()) as camera:
        settings = resolved("opencv", source=camera.url(), snapshot_fps=0.01)
        driver = OpenCVCamera(settings, DriverState())
        driver.interrupt = threading.Event()
        driver.open()
        try:
            number(driver.read())
            driver.interrupt.set()
            assert driver.read() is None
        finally:
            driver.close()


@pytest.mark.parametrize("length", [True, False])
def test_a_snapshot_that_breaks_off_is_not_taken(length: bool) -> None:
    count = iter(range(1_000_000))

    def script(_: Request, viewer: Viewer) -> None:
        data = numbered(number := next(count))
        told = f"Content-Length: {len(data)}\r\n" if length else ""
        viewer.send(f"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n{told}\r\n".encode())
        viewer.send(data[:1000] if number == 1 else data)
        raise ConnectionAbortedError

    with HttpCamera(script) as camera, opened(camera.url()) as (driver, _):
        with pytest.raises(DriverError, match="corrupt picture"):
            driver.capture(Shot())
        assert number(driver.capture(Shot())) == 2


@pytest.mark.timed
@pytest.mark.parametrize("drips", [True, False])
def test_a_snapshot_that_never_ends_is_given_up(drips: bool) -> None:
    count = iter(range(1_000_000))

    def script(_: Request, viewer: Viewer) -> None:
        if (number := next(count)) != 1:
            viewer.picture(numbered(number))
            return
        viewer.send(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8")
        while drips:
            viewer.send(b"x")
            viewer.pause(0.02)
        viewer.hang()

    with HttpCamera(script) as camera, opened(camera.url(), read_timeout_s=0.3) as (driver, _):
        with timing(os.getpid()) as took, pytest.raises(DeviceAway, match="not whole within"):
            driver.capture(Shot())
        took.assert_within(1.2)
        assert number(driver.capture(Shot())) == 2


OLD = {
    "Last_Modified": "Sun, 29 Nov 2026 10:00:00 GMT",
    "Date": "Sun, 29 Nov 2026 10:05:00 GMT",
}


@pytest.mark.parametrize(
    ("headers", "is_old"),
    [({}, False), ({"Age": "300"}, True), (OLD, True), ({**OLD, "Date": "soon"}, False)],
)
def test_a_server_that_says_its_picture_is_old(headers: dict[str, str], is_old: bool) -> None:
    script: Script = lambda _, viewer: viewer.picture(numbered(0), **headers)  # noqa: E731
    with HttpCamera(script) as camera, opened(camera.url()) as (driver, info):
        assert any("cache" in warning for warning in info.warnings) is is_old
        driver.capture(Shot())


def test_a_time_that_the_server_says_of_every_picture_means_nothing() -> None:
    with HttpCamera(snapshots(**OLD)) as camera, opened(camera.url()) as (driver, _):
        driver.capture(Shot())
        info = driver.health_check()
        assert info is not None
        assert info.warnings == []


# No proxy.


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with held_port() as nobody, HttpCamera(streaming(50)) as camera:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody}")
        with opened(camera.url()) as (driver, _):
            number(driver.capture(Shot()))
