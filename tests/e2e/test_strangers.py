"""Other websites' pages get nothing of the backend, and nobody holds it up by being slow."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from camapi.v1 import camera_pb2 as pb
from playwright.async_api import Browser

from tests.conftest import StartService
from tests.e2e.backend import Backend
from tests.e2e.conftest import OpenPage, StartBackend
from tests.support import plugins
from tests.support.http_camera import HttpCamera, Request, Viewer
from tests.support.scenes import camera
from tests.support.service import Service
from tests.support.waiting import until

CONTROLS = "/api/cameras/sim0/controls"
SOCKETS = 256
LARGE_BYTES = 24 << 20
"""More than the system keeps between the two."""
CUT_OFF_S = 40.0
"""It is looked at every 15 s, and cut off when nothing was taken since."""
LATE_S = 15.0
"""By when the slowest request has been ended: after 10 s, which are looked at each second."""


@pytest.fixture
async def rig(start_service: StartService, start_backend: StartBackend) -> tuple[Service, Backend]:
    """Give a service, whose camera nobody has used, and a backend for it."""
    service = await start_service(camera())
    return service, await start_backend(service.address)


async def is_closed(service: Service) -> bool:
    return (await service.camera()).camera.state == pb.Camera.STATE_CLOSED


NAVIGATED = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


async def test_a_request_of_another_site_is_refused(rig: tuple[Service, Backend]) -> None:
    service, backend = rig
    for site in ("cross-site", "same-site", "", "made-up"):
        for path in (CONTROLS, "/api/cameras", "/", "/main.js", "/nix"):
            for more in ({}, {"origin": f"http://127.0.0.1:{backend.port}"}):
                answer = await backend.call(path, sec_fetch_site=site, **more)
                assert (answer.status, answer.json["reason"]) == (403, "ORIGIN_REFUSED")
        answer = await backend.call(CONTROLS, sec_fetch_site=site, **NAVIGATED)
        assert answer.status == 403, "an address typed elsewhere, or a frame's"
        framed = {**NAVIGATED, "sec_fetch_dest": "iframe"}
        assert (await backend.call("/", sec_fetch_site=site, **framed)).status == 403
        assert (await backend.call("/?camera=sim0", sec_fetch_site=site, **NAVIGATED)).status == 200
    assert await is_closed(service)
    for site in ("same-origin", "none"):
        assert (await backend.call(CONTROLS, sec_fetch_site=site)).status == 200
    assert not await is_closed(service), "which opens it"


async def test_a_browser_on_another_site_does_not_open_a_camera(
    rig: tuple[Service, Backend], browser: Browser, open_page: OpenPage
) -> None:
    service, backend = rig
    url = f"{backend.url}{CONTROLS}"
    body = f"""<!doctype html>
        <img src="{url}?a"><script src="{url}?b"></script><link rel="stylesheet" href="{url}?c">
        <iframe src="{backend.url}/?camera=sim0"></iframe>
        <script>
        fetch("{url}?d", {{ mode: "no-cors" }});
        fetch("{backend.url}/api/cameras/sim0/captures", {{ mode: "no-cors", method: "POST" }});
        new WebSocket("{backend.url.replace("http", "ws")}/api/cameras/sim0/live");
        </script>""".encode()

    def stranger(_: Request, viewer: Viewer) -> None:
        viewer.answer("200 OK", body, Content_Type="text/html")

    with HttpCamera(stranger) as site:
        context = await browser.new_context()
        tab = await context.new_page()
        asked, answers = list[str](), list[int]()
        tab.on("requestfailed", lambda request: asked.append(request.url))
        tab.on("requestfinished", lambda request: asked.append(request.url))
        tab.on("response", lambda r: answers.append(r.status) if backend.url in r.url else None)
        await tab.goto(site.url("/", host="localhost"), wait_until="commit")

        async def answered() -> bool:
            return len({address for address in asked if backend.url in address}) == 6

        await until(answered, "all its requests are answered", within_s=30)
        await context.close()
    assert set(answers) <= {403}
    assert await is_closed(service)
    await (await open_page(backend.url)).live()


@contextlib.asynccontextmanager
async def connected(backend: Backend, begun: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Give what comes back on a connection on which a request was begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    writer.write(begun)
    try:
        yield reader
    finally:
        writer.close()


SLOW = {
    "says nothing": b"",
    "headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    "body": b"POST /api/cameras/sim0/captures HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
    "chunks": b"PATCH /api/cameras/sim0/controls HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "nothing more": b"GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


async def test_slow_requests_are_ended(rig: tuple[Service, Backend]) -> None:
    """Whatever they are slow with, all at once."""
    _, backend = rig

    async def ended(begun: bytes) -> tuple[float, bytes]:
        began, got = time.monotonic(), b""
        async with connected(backend, begun) as reader, asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                while more := await reader.read(1 << 16):
                    got += more
        return time.monotonic() - began, got

    ends = await asyncio.gather(*map(ended, SLOW.values()))
    for name, (took_s, got) in zip(SLOW, ends, strict=True):
        print(f"{name}: {took_s:.1f} s, {got[:40]!r}")
    answers = [got.split(b" ")[1] if got else b"" for _, got in ends]
    assert answers == [b"408", b"408", b"408", b"408", b"200"]
    assert (await backend.call("/api/cameras")).status == 200


async def test_sockets_have_a_bound_and_are_given_back(rig: tuple[Service, Backend]) -> None:
    _, backend = rig
    async with contextlib.AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(connected(backend, b"GET "))
            for _ in range(SOCKETS + 50)
        ]

        async def refused() -> bool:
            ended = [reader.at_eof() or reader.exception() is not None for reader in readers]
            return sum(ended) >= 50

        await until(refused, "those that are too many are closed")
        assert len(backend.ps.net_connections("tcp")) <= SOCKETS + 10

    async def answers() -> bool:
        try:
            return (await backend.call("/api/cameras")).status == 200
        except OSError:
            return False

    await until(answers, "others are answered again", within_s=LATE_S)


async def test_a_picture_that_nobody_takes_is_cut_off(
    start_service: StartService, start_backend: StartBackend, tmp_path: Path
) -> None:
    """And what it holds in the service is given back."""
    (tmp_path / "picture.jpg").write_bytes(plugins.encoded(0) + bytes(LARGE_BYTES))
    options = {"picture": str(tmp_path / "picture.jpg")}
    service = await start_service(
        camera(driver="plugins:FileCamera", options=options, env=plugins.ENV)
    )
    backend = await start_backend(service.address)
    path = (await backend.call("/api/cameras/sim0/captures", "POST", {})).headers["location"]
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        taker.connect(("127.0.0.1", backend.port))
        taker.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        port = taker.getsockname()[1]

        async def taken() -> bool:
            return port in {c.raddr.port for c in backend.ps.net_connections("tcp") if c.raddr}

        async def cut_off() -> bool:
            return not await taken()

        await until(taken, "the connection is there")
        await until(cut_off, "the connection is closed", within_s=CUT_OFF_S)
    answer = await backend.call(path)
    assert len(answer.data) > LARGE_BYTES, "others get it whole"
