"""What clients have been sent and have not taken, and who never takes it.

gRPC keeps that in memory until the client takes it or its connection ends, even when the call has
ended. Invariant: nobody who takes what it is sent is refused or disconnected.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

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
class _Sent:
    caller: Caller
    size_bytes: int
    since: float = field(default_factory=time.monotonic)


class Untaken:
    """Counts the bytes that are on their way to each caller."""

    def __init__(self, limit_bytes: int = _LIMIT_BYTES, patience_s: float = _PATIENCE_S) -> None:
        self._limit_bytes = limit_bytes
        self._patience_s = patience_s
        self._sent: dict[_Sent, None] = {}
        self._bytes = Counter[Caller]()
        self._total_bytes = 0

    def add(self, caller: Caller, size_bytes: int) -> _Sent:
        """Count a reply that is about to be sent.

        Raises:
            QueueFull: too much is on its way, and this caller takes its part too slowly.
        """
        if self._total_bytes + size_bytes > self._limit_bytes and self._is_slow(caller):
            raise QueueFull(
                "the replies that clients have not taken yet use up the service's memory for them, "
                "and many are yours; take them, or cancel their calls, and come back",
                retry_after_s=PLACE_FREED_S,
                metadata={"limit": str(self._limit_bytes)},
            )
        sent = _Sent(caller, size_bytes)
        self._sent[sent] = None
        self._bytes[caller] += size_bytes
        self._total_bytes += size_bytes
        return sent

    def taken(self, sent: _Sent, _: object = None) -> None:
        """Count it no longer: it was taken, or its call was cancelled."""
        if sent in self._sent:
            del self._sent[sent]
            self._total_bytes -= sent.size_bytes
            self._bytes[sent.caller] -= sent.size_bytes
            if not self._bytes[sent.caller]:
                del self._bytes[sent.caller]

    def keep(self, connected: Collection[Caller]) -> None:
        """Count nothing any more of whose connections have ended."""
        for sent in [sent for sent in self._sent if sent.caller not in connected]:
            self.taken(sent)

    def stuck(self) -> Iterator[Caller]:
        """Yield whose connections have to end, so that others are not kept from their replies."""
        old = Counter[Caller]()
        for sent in self._old():
            old[sent.caller] += sent.size_bytes
        too_much = old.total() - self._limit_bytes // 2
        for caller, size_bytes in old.most_common():
            if too_much <= 0:
                return
            too_much -= size_bytes
            yield caller

    def _is_slow(self, caller: Caller) -> bool:
        large = self._bytes[caller] > self._limit_bytes // _SHARE
        return large or any(sent.caller == caller for sent in self._old())

    def _old(self) -> Iterator[_Sent]:
        since = time.monotonic() - self._patience_s
        return (sent for sent in self._sent if sent.since < since)
