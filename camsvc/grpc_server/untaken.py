"""What clients have been sent and have not taken, and who never takes it.

gRPC keeps that in memory until the client takes it or its connection ends, even when the call has
ended. Invariant: nobody who takes what it is sent is refused or disconnected.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from camsvc.model.caller import Caller
from camsvc.model.errors import QueueFull
from camsvc.model.retry_hint import PLACE_FREED_S

_LIMIT_BYTES = 96 * 2**20
"""As much as some twenty large stills have that are on their way at once."""

_SHARE = 8
"""A caller with less than this part of the limit is no cause of it."""

_PATIENCE_S = 10.0
"""For so long, a reply may be on its way: 4 MiB by a poor wireless network are."""


@dataclass(eq=False, slots=True)
class Sending:
    """The message of one call that is on its way."""

    caller: Caller
    size_bytes: int = 0
    """0: none is."""
    since: float = 0.0


class Untaken:
    """Counts the bytes that are on their way to each caller."""

    def __init__(self, limit_bytes: int = _LIMIT_BYTES, patience_s: float = _PATIENCE_S) -> None:
        self._limit_bytes = limit_bytes
        self._patience_s = patience_s
        self._all: dict[Sending, None] = {}
        self._total_bytes = 0

    @contextlib.contextmanager
    def sending(self, caller: Caller) -> Iterator[Sending]:
        """Give what counts a call's messages while the body runs.

        What is on its way when the body ends by QueueFull stays: it was the service that has ended
        the call. Else the client has left, and gRPC has let go of it.
        """
        sending = Sending(caller)
        self._all[sending] = None
        try:
            yield sending
        except QueueFull:
            if not sending.size_bytes:
                del self._all[sending]
            raise
        except BaseException:
            self._end(sending)
            raise
        else:
            self._end(sending)

    def add(self, sending: Sending, size_bytes: int) -> None:
        """Count a message that is about to be sent.

        Raises:
            QueueFull: too much is on its way, and this caller takes its part too slowly.
        """
        if self._total_bytes + size_bytes > self._limit_bytes and self._is_slow(sending.caller):
            raise QueueFull(
                "the replies that clients have not taken yet use up the service's memory for them, "
                "and many are yours; take them, or cancel their calls, and come back",
                retry_after_s=PLACE_FREED_S,
                metadata={"limit": str(self._limit_bytes)},
            )
        self._total_bytes += size_bytes
        sending.size_bytes, sending.since = size_bytes, time.monotonic()

    def taken(self, sending: Sending) -> None:
        """The message has arrived."""
        self._total_bytes -= sending.size_bytes
        sending.size_bytes = 0

    def keep(self, connected: Collection[Caller]) -> None:
        """Count nothing any more of whose connections have ended."""
        for sending in [each for each in self._all if each.caller not in connected]:
            self._end(sending)

    def stuck(self) -> Iterator[Caller]:
        """Yield whose connections have to end, so that others are not kept from their replies."""
        old = Counter[Caller]()
        for sending in self._old():
            old[sending.caller] += sending.size_bytes
        too_much = old.total() - self._limit_bytes // 2
        for caller, size_bytes in old.most_common():
            if too_much <= 0:
                return
            too_much -= size_bytes
            yield caller

    def _end(self, sending: Sending) -> None:
        self.taken(sending)
        self._all.pop(sending, None)

    def _is_slow(self, caller: Caller) -> bool:
        own_bytes = sum(each.size_bytes for each in self._all if each.caller == caller)
        large = own_bytes > self._limit_bytes // _SHARE
        return large or any(sending.caller == caller for sending in self._old())

    def _old(self) -> Iterator[Sending]:
        since = time.monotonic() - self._patience_s
        return (each for each in self._all if each.size_bytes and each.since < since)
