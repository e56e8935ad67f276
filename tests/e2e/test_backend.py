"""The backend without a browser: its API, whom it answers, and how it ends."""

import asyncio
import base64
import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.conftest import StartService
from tests.e2e.backend import BUILT, Backend
from tests.e2e.conftest import OpenPage, StartBackend
from tests.support.scenes import camera
from tests.support.waiting import finished, until

CAPTURES = "/api/cameras/sim0/captures"
EVIL = "http://evil.example"
_DRAWN = b"drawn"


class Watcher:
    """A raw WebSocket of a camera, which reads nothing unless it is told to."""

    async def open(self, backend: Backend, path: str = "/api/cameras/sim0/live") -> str:
        """Return the status line."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", backend.port)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{backend.port}",
            *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            f"Sec-WebSocket-Key: {key}",
        ]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        return (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[0]

    async def claim_drawn(self, count: int) -> None:
        """Say that frames have been drawn."""
        frame = struct.pack("!BB4s", 0x81, 0x80 | len(_DRAWN), bytes(4)) + _DRAWN
        self._writer.write(frame * count)
        await self._writer.drain()

    async def ended(self, within_s: float) -> None:
        """Read on until the backend ends it."""
        async with asyncio.timeout(within_s):
            try:
                while await self._reader.read(1 << 20):
                    pass
            except ConnectionResetError:
                pass

    @property
    def port(self) -> int:
        """Return the port at this end."""
        return int(self._writer.get_extra_info("sockname")[1])

    def close(self) -> None:
        self._writer.close()


ERRORS: list[tuple[str, str, object, tuple[int, str]]] = [
    ("GET", "/api/cameras/nix/controls", None, (404, "CAMERA_NOT_FOUND")),
    ("GET", "/api/cameras/N%20X/controls", None, (400, "INVALID_REQUEST")),
    ("GET", "/api/captures/nix/image", None, (404, "CAPTURE_NOT_FOUND")),
    ("GET", "/api/captures/nix/thumbnail", None, (404, "CAPTURE_NOT_FOUND")),
    ("GET", f"{CAPTURES}?limit=0", None, (400, "INVALID_REQUEST")),
    ("GET", f"{CAPTURES}?limit=ten", None, (400, "INVALID_REQUEST")),
    ("POST", CAPTURES, {"requestId": "x"}, (400, "INVALID_REQUEST")),
    ("POST", CAPTURES, {"requestId": 1}, (400, "INVALID_REQUEST")),
    ("POST", CAPTURES, {"requestId": "x" * 20_000}, (413, "REQUEST_REFUSED")),
    ("PATCH", "/api/cameras/sim0/controls", {}, (400, "INVALID_REQUEST")),
    ("PATCH", "/api/cameras/sim0/controls", {"gain": 99}, (400, "INVALID_REQUEST")),
    ("PATCH", "/api/cameras/sim0/controls", {"gain": "much"}, (400, "INVALID_REQUEST")),
    ("PATCH", "/api/cameras/sim0/controls", {"gain": [1]}, (400, "INVALID_REQUEST")),
    ("PATCH", "/api/cameras/sim0/controls", {"nix": 1}, (409, "UNSUPPORTED")),
    ("POST", "/api/cameras/nix/reset", None, (404, "CAMERA_NOT_FOUND")),
    ("GET", "/api/nix", None, (404, "NOT_FOUND")),
    ("DELETE", "/", None, (404, "NOT_FOUND")),
    ("GET", "/../package.json", None, (404, "NOT_FOUND")),
    ("GET", "/%2e%2e/%2e%2e/package.json", None, (404, "NOT_FOUND")),
]


async def test_errors_have_a_status_a_reason_and_a_message(api: Backend) -> None:
    for method, path, body, expected in ERRORS:
        answer = await api.call(path, method, body)
        assert (answer.status, answer.json["reason"]) == expected, (method, path, body)
        assert answer.json["message"]
        assert {*answer.json} == {"reason", "message", "waitMs", "holder"}
        assert str(Path.cwd()) not in answer.data.decode()


async def test_strangers_pages_are_refused(api: Backend) -> None:
    local = {"host": f"localhost:{api.port}", "origin": f"http://localhost:{api.port}"}
    rebound = {"host": "evil.example", "origin": EVIL}
    assert (await api.call(CAPTURES, "POST", {}, **local)).status == 201
    for headers in ({"origin": EVIL}, {"origin": "null"}, rebound, {"host": "evil.example"}):
        for method, path in (("POST", CAPTURES), ("GET", "/"), ("GET", "/api/cameras/sim0/live")):
            answer = await api.call(path, method, {} if method == "POST" else None, **headers)
            assert (answer.status, answer.json["reason"]) == (403, "ORIGIN_REFUSED"), headers
    socket = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    key = {"sec_websocket_key": base64.b64encode(os.urandom(16)).decode()}
    answer = await api.call("/api/cameras/sim0/live", origin=EVIL, **socket, **key)
    assert answer.status == 403
    assert len((await api.call(CAPTURES)).json) == 1, "none of them took a picture"


async def test_names_that_are_allowed_by_the_settings_are_answered(
    start_service: StartService, start_backend: StartBackend
) -> None:
    service = await start_service(camera())
    backend = await start_backend(service.address, "--origin", "https://cams.example")
    known = {"host": "cams.example", "origin": "https://cams.example"}
    assert (await backend.call(CAPTURES, "POST", {}, **known)).status == 201
    assert (await backend.call("/", host="cams.example")).status == 200
    other = {"host": "cams.example", "origin": "http://cams.example"}
    assert (await backend.call(CAPTURES, "POST", {}, **other)).status == 403


async def test_browsers_are_told_to_run_nothing_but_the_page_itself(api: Backend) -> None:
    for path in ("/", "/main.js", "/api/cameras", "/nix"):
        headers = (await api.call(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    page = await api.call("/")
    assert b"://" not in page.data, "everything comes from here"
    again = await api.call("/", if_none_match=page.headers["etag"])
    assert (again.status, again.data) == (304, b"")


async def test_slow_viewers_do_not_make_the_memory_grow_and_are_dropped(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(width_px=1920, height_px=1080))
    backend = await start_backend(service.address)
    page = await open_page(backend.url)
    path = "/api/cameras/sim0/live?width=1920"
    silent, greedy = [Watcher() for _ in range(8)], [Watcher() for _ in range(4)]
    for watcher in [*silent, *greedy]:
        assert await watcher.open(backend, path) == "HTTP/1.1 101 Switching Protocols"
    seen = await page.live()
    before = peak = backend.ps.memory_info().rss

    async def dropped() -> bool:
        nonlocal peak
        peak = max(peak, backend.ps.memory_info().rss)
        for watcher in greedy:
            await watcher.claim_drawn(20)
        ports = {c.raddr.port for c in backend.ps.net_connections("tcp") if c.raddr}
        return not ports & {watcher.port for watcher in silent}

    await until(dropped, "the silent ones are dropped", within_s=20)
    # Some 40 MB are in transit or not yet collected. Piled up, it would be about 100.
    assert peak - before < 65e6, f"{(peak - before) / 1e6:.0f} MB more"
    assert await page.live() > seen + 10, "meanwhile the page went on"
    for watcher in [*silent, *greedy]:
        watcher.close()


async def test_it_ends_at_once_though_pages_watch_and_wait(
    start_service: StartService, start_backend: StartBackend, open_page: OpenPage
) -> None:
    service = await start_service(camera(capture_duration_s=5))
    backend = await start_backend(service.address)
    page = await open_page(backend.url)
    await page.live()
    watcher = Watcher()
    await watcher.open(backend)
    await page.shutter.click()
    await page.shows("Paused")
    assert await backend.stop(within_s=2) == 0
    await watcher.ended(within_s=2)
    watcher.close()
    assert '"level":50' not in backend.log()
    await page.shows("No connection since ")


SETTINGS = [
    (["--service", "nowhere"], 2, 'service "nowhere" is not HOST:PORT'),
    (["--port", "x"], 2, 'port "x" is not a number from 0 to 65535'),
    (["--port", "99999"], 2, 'port "99999" is not a number'),
    (["--origin", "cams"], 2, 'origin "cams" is not like http://'),
    (["--host", "a b"], 2, 'host "a b" is not a name or IP address'),
    (["--nix"], 2, "--nix"),
    (["--help"], 0, "--service"),
]


async def test_settings_that_are_wrong_are_explained() -> None:
    ends = await asyncio.gather(*(start(*args) for args, _, _ in SETTINGS))
    for (args, code, said), (status, out, errors) in zip(SETTINGS, ends, strict=True):
        assert status == code, args
        assert said in (errors if code else out)
        assert "at " not in errors, "no traceback"


async def test_a_port_that_is_taken_is_explained(api: Backend) -> None:
    status, _, errors = await start("--port", str(api.port))
    assert status == 1
    assert "name another --port" in errors


async def start(*args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(shutil.which("node") or "node", str(BUILT), *args),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return await finished(process, within_s=10)


@pytest.fixture
async def api(start_service: StartService, start_backend: StartBackend) -> Backend:
    """Give a backend in front of a quick camera."""
    return await start_backend((await start_service(camera())).address)
