"""Whose each slot of the shared memory is, as far as a worker's live frames go.

Invariant: what a worker announces is its own until then, and the service's until it is given back.
"""

import time
from collections.abc import Iterable

from camsvc.ipc import messages as m
from camsvc.ipc.packing import ProtocolViolation
from camsvc.ipc.shared_memory import LIVE_BYTES

_RELEASED_TOGETHER = 4
"""Of the 16 slots. Each message wakes the worker, which costs it more than a frame of a camera that
encodes by itself."""


class LiveSlots:
    """One worker's."""

    def __init__(self) -> None:
        self._announced: set[int] = set()
        self._read: list[int] = []
        """Those of them that are to be given back."""

    def announce(self, frame: m.SharedFrame) -> None:
        """Take over the slots of a frame.

        Raises:
            ProtocolViolation: the worker may not have announced it.
        """
        for image in frame.images:
            if image.slot in self._announced:
                raise ProtocolViolation(f"slot {image.slot} of a live frame is not the worker's")
            self._announced.add(image.slot)
        size_bytes = sum(image.size_bytes for image in frame.images)
        if size_bytes > LIVE_BYTES:
            raise ProtocolViolation(f"a live frame of {size_bytes} bytes; allowed: {LIVE_BYTES}")
        if frame.monotonic_ns > time.monotonic_ns():
            raise ProtocolViolation("the time of a live frame is ahead of now")

    def give_back(self, slots: Iterable[int]) -> list[int]:
        """Note which have been read; return those to release now, often none."""
        self._read += slots
        if len(self._read) < _RELEASED_TOGETHER:
            return []
        released, self._read = self._read, []
        self._announced.difference_update(released)
        return released
