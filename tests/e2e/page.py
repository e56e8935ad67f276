"""The page, as a person sees and uses it."""

import base64
import re

import cv2
import numpy as np
from playwright.async_api import Locator, Page, expect

from camsvc.drivers.simulated.test_picture import read_number
from tests.support.waiting import until

SOON_S = 60.0
"""Where nothing is promised."""

# The canvas hands its bitmap on: it is copied to be read.
_COPY = """async canvas => {
  const bitmap = await createImageBitmap(canvas);
  const copy = Object.assign(document.createElement("canvas"), {
    width: bitmap.width, height: bitmap.height });
  copy.getContext("2d").drawImage(bitmap, 0, 0);
  return copy.toDataURL("image/png").split(",")[1];
}"""

_LOADED = """() => Array.from(document.querySelectorAll("#captures img"))
  .every(image => image.complete && image.naturalWidth > 0)"""


class CameraPage:
    """A tab. Whatever navigates away from the page it has opened is noticed."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab
        self.errors: list[str] = []
        self.sockets = 0
        """How many it has opened so far."""
        tab.on("websocket", lambda _: self._opened())
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("console", lambda message: self._logged(message.type, message.text))
        self.state = tab.locator("#state-title")
        self.detail = tab.locator("#state-detail")
        self.stage = tab.locator("#stage")
        self.shutter = tab.locator("#shutter")
        self.note = tab.locator("#shutter-note")
        self.countdown = tab.locator("#countdown")
        self.thumbnails = tab.locator("#captures button")
        self.dialog = tab.locator("#dialog")

    async def open(self, url: str) -> None:
        """Open an address, and leave a mark that a reload would wipe out."""
        await self.tab.goto(url)
        await self.tab.evaluate("window.sameDocument = true")

    async def assert_same_document(self) -> None:
        assert await self.tab.evaluate("window.sameDocument === true"), "the page was loaded anew"

    async def explains(self, why: str) -> None:
        """Wait until its dialog says why a picture is not shown; its clock is the test's."""

        async def said() -> bool:
            await self.tab.clock.run_for(1000)  # its retries take 7 s
            return await self.dialog.get_by_text(f"could not be loaded: {why}.").count() == 1

        await until(said, f"the dialog says why: {why}")

    def control(self, name: str) -> Locator:
        """Return the row of a control by what it is called."""
        return self.tab.locator(".control", has=self.tab.get_by_text(name, exact=True))

    async def shows(self, state: str, *, within_s: float = SOON_S) -> None:
        """Wait until its state begins with some words."""
        await expect(self.state).to_have_text(
            re.compile(rf"^{re.escape(state)}"), timeout=within_s * 1000
        )

    async def number(self) -> int | None:
        """Return the number of the frame it shows as live; None: it shows none."""
        if await self.stage.get_attribute("data-picture") != "live":
            return None
        data = base64.b64decode(await self.tab.locator("#picture").evaluate(_COPY))
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return None if pixels is None else read_number(np.asarray(pixels, np.uint8))

    async def live(self, *, within_s: float = SOON_S) -> int:
        """Wait until it is live and frames go on; return the last one's number."""
        await self.shows("Live", within_s=within_s)
        seen = set[int]()

        async def fresh() -> bool:
            number = await self.number()
            seen.update([] if number is None else [number])
            return len(seen) > 2

        await until(fresh, "three fresh frames on the page", within_s=within_s)
        return max(seen)

    async def taken(self, count: int, *, within_s: float = SOON_S) -> None:
        """Wait until it shows so many thumbnails, all loaded."""
        await expect(self.thumbnails).to_have_count(count, timeout=within_s * 1000)
        await self.tab.wait_for_function(_LOADED, timeout=within_s * 1000)

    def _opened(self) -> None:
        self.sockets += 1

    def _logged(self, kind: str, text: str) -> None:
        # That requests fail while the service is away is what the page is for.
        if kind in ("error", "warning") and not re.match(
            r"Failed to load resource|WebSocket connection to .* failed", text
        ):
            self.errors.append(text)
