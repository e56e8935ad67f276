"""A browser, and the example backend in front of a real service."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from tests.clients.python.rig import Rig
from tests.e2e.backend import BUILT, FOLDER, Backend
from tests.e2e.page import CameraPage
from tests.support.left_out import lacking

StartBackend = Callable[..., Awaitable[Backend]]
StartRig = Callable[[str], Awaitable[Rig]]
OpenPage = Callable[..., Awaitable[CameraPage]]

_VIEW: dict[str, Any] = {"viewport": {"width": 1200, "height": 860}, "locale": "en-GB"}
_BROWSER_START_S = 60.0


@pytest.fixture(scope="session", autouse=True)
def _what_it_needs() -> None:
    if not shutil.which("chromium"):
        lacking("there is no browser", "apt-get install chromium fonts-dejavu-core")
    if not shutil.which("node") or not BUILT.exists():
        lacking(f"{FOLDER.name} is not built", "make test, which builds it")


@pytest.fixture
async def start_backend(tmp_path: Path) -> AsyncIterator[StartBackend]:
    """Give a function that starts a backend for the service at an address."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(service: str, *flags: str, port: int = 0, ahead_s: float = 0.0) -> Backend:
            return await stack.enter_async_context(
                Backend(tmp_path, service, *flags, port=port, ahead_s=ahead_s)
            )

        yield start


@pytest.fixture
async def start_rig(tmp_path: Path) -> AsyncIterator[StartRig]:
    """Give a function that starts a service which can be killed and started again."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(settings: str) -> Rig:
            return await stack.enter_async_context(Rig(tmp_path, settings))

        yield start


@pytest.fixture(scope="session")
def _chromium(_what_it_needs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a browser for all tests; give the address of its remote control."""
    profile = tmp_path_factory.mktemp("chromium")
    command = [
        *("chromium", "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}"),
        # As root, Chromium has no sandbox; /dev/shm may be small, and is watched by the tests.
        *("--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"),
        # A tab in the background is as quick as the one in front: tests have several.
        *("--disable-background-timer-throttling", "--disable-renderer-backgrounding"),
        "--disable-backgrounding-occluded-windows",
    ]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            yield _remote_control(profile / "DevToolsActivePort", process)
        finally:
            process.terminate()
            process.wait(timeout=10)


def _remote_control(announced: Path, process: "subprocess.Popen[bytes]") -> str:
    """Wait until the browser has written where it listens."""
    give_up_at = time.monotonic() + _BROWSER_START_S
    while True:
        lines = announced.read_text().splitlines() if announced.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        assert process.poll() is None, "chromium ended"
        assert time.monotonic() < give_up_at, "chromium does not listen"
        time.sleep(0.05)  # a file cannot be awaited


@pytest.fixture
async def browser(_chromium: str) -> AsyncIterator[Browser]:
    """Give the browser, without anything that another test has left."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(_chromium)
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    """Give a function that opens the page in a tab; at the end, no tab has had an error."""
    pages: list[CameraPage] = []
    async with contextlib.AsyncExitStack() as stack:

        async def open_(url: str, **options: Any) -> CameraPage:
            context = await browser.new_context(**{**_VIEW, **options})
            stack.push_async_callback(context.close)
            page = CameraPage(await context.new_page())
            pages.append(page)
            await page.open(url)
            return page

        yield open_
    assert [error for page in pages for error in page.errors] == []
