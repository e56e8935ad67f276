"""Live frames in the worker: read, encoded once for each variant, handed over in slots.

A frame is handed over only when it is newer than the one before it and whole; otherwise it counts
as bad. Bad frames are skipped until there are too many in a row.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from camsvc.drivers.base import Driver
from camsvc.images import codec
from camsvc.ipc import messages as m
from camsvc.ipc.errors import failure
from camsvc.ipc.shared_memory import LIVE_BYTES, LIVE_SLOTS, SharedBlock
from camsvc.model import clock, errors
from camsvc.model.frame_rate import FrameRateLimiter
from camsvc.model.values import LiveVariant
from camsvc.worker import gate

_BAD_FRAMES = 5
"""In a row; then live reading has failed. Some backends lose 5 to 10 % of their grabs."""

_BAD_FRAME_PAUSE_S = 0.1
"""After the first bad frame, and growing by as much: a lost device fails each read at once."""


_HOPELESS = (errors.DeviceAway, errors.DriverFault, errors.Unsupported)
"""The next frame would not be better."""


class LiveReader:
    """What the worker does between commands while somebody watches."""

    def __init__(self, block: SharedBlock, send: Callable[[m.LiveEvent], None]) -> None:
        self._block = block
        self._send = send
        self._variants: dict[LiveVariant, FrameRateLimiter] = {}
        self._free = set(LIVE_SLOTS)
        self._started = False
        self._bad = 0
        self._bad_before = 0
        """Bad ones since the last frame that was handed over."""
        self._skipped = 0
        self._stamp_ns: int | None = None
        """The driver's own time of the last frame: a repeated one has it again."""
        self._newest_ns = -1
        """When that was taken, by the monotonic clock."""

    @property
    def pause_s(self) -> float | None:
        """How long to wait for a command before the next `read`; None: nobody watches."""
        return self._bad * _BAD_FRAME_PAUSE_S if self._variants else None

    def want(self, variants: list[LiveVariant], driver: Driver | None) -> None:
        """Read in these variants from now on; none: stop."""
        known = self._variants
        self._variants = (
            {v: known.get(v) or FrameRateLimiter(v.max_fps) for v in variants} if driver else {}
        )
        self._bad = 0
        if not self._variants:
            with contextlib.suppress(Exception):  # the device's next use fails by it, too
                self.suspend(driver)

    def release(self, slots: list[int]) -> None:
        """Take slots back (on the pipe's thread)."""
        self._free |= set(slots)

    def suspend(self, driver: Driver | None) -> None:
        """End the camera's live view until the next `read`."""
        if self._started and driver is not None:
            self._started = False
            driver.stop_live()

    def stop(self, driver: Driver | None) -> None:
        """Forget the variants; the service sends them again when the camera is back."""
        self._variants = {}
        self.suspend(driver)

    def read(self, driver: Driver) -> None:
        """Read one frame and hand it over; fail when it is one bad frame too many."""
        try:
            if not self._started:
                driver.start_live()
                self._started = True
            asked = clock.now()
            given = driver.read()
            if given is not None:
                self._hand_over(*gate.live(given, asked))
                self._bad = 0
        except Exception as error:  # a driver may raise whatever its library does
            self._bad += 1
            self._bad_before += 1
            failed = failure(error)
            if not isinstance(error, _HOPELESS):
                if self._bad < _BAD_FRAMES:
                    return
                why = f"live view failed: {failed.message} ({self._bad} in a row)"
                failed = replace(failed, message=why)
            self._variants = {}
            self._send(m.Lost(failed))

    def _hand_over(self, picture: codec.Picture, taken: clock.Moment) -> None:
        stamp_ns = picture.frame.acquisition_time_ns
        if stamp_ns == self._stamp_ns or taken.monotonic_ns <= self._newest_ns:
            raise errors.DriverError("the camera repeats its last frame")
        moment = taken.monotonic_ns / 1e9
        due = [variant for variant, pacer in self._variants.items() if pacer.takes(moment)]
        outputs = picture.live_outputs(due)
        if len(outputs) > len(self._free):
            self._skipped += 1
            self._stamp_ns, self._newest_ns = stamp_ns, taken.monotonic_ns
            return
        started = time.thread_time()  # others' use of the processors is none of its own
        slots = sorted(self._free)[: len(outputs)]
        self._free -= set(slots)
        try:
            images = [
                self._encoded(picture, output, variants, slot)
                for slot, (output, variants) in zip(slots, outputs.items(), strict=True)
            ]
            _check_size(images)
            encode_s = time.thread_time() - started
            times, bad = (taken.wall_ns, taken.monotonic_ns), self._bad_before
            self._send(m.SharedFrame(*times, images, encode_s, self._skipped, bad))
        except Exception:
            self.release(slots)
            raise
        self._skipped = self._bad_before = 0
        self._stamp_ns, self._newest_ns = stamp_ns, taken.monotonic_ns

    def _encoded(
        self, picture: codec.Picture, output: codec.Output, variants: list[LiveVariant], slot: int
    ) -> m.SharedImage:
        data = picture.render(output)
        self._block.write(slot, data)
        ids = [variant.id for variant in variants]
        return m.SharedImage(ids, slot, len(data), codec.JPEG, output.width_px, output.height_px)


def _check_size(images: list[m.SharedImage]) -> None:
    size_bytes = sum(image.size_bytes for image in images)
    if size_bytes > LIVE_BYTES:
        raise errors.DriverError(
            f"a live frame has {size_bytes} bytes in all its sizes; allowed: {LIVE_BYTES}"
        )
