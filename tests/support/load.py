"""Clients that keep a service busy: captures, groups, deletions, downloads, readers of events."""

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import grpc
from camsvc_client import error_info

from tests.support.ledger import Ledger, Reader, gone
from tests.support.service import Service

_PINNED, _WITHOUT_ID = 0.05, 0.1
"""The part of the captures."""


class Load:
    """Everything at once, until the service has gone or `stop` is called."""

    def __init__(self, ledger: Ledger, service: Service, cameras: Sequence[str]) -> None:
        self._ledger = ledger
        self._service = service
        self._cameras = list(cameras)
        self._stopping = self._gone = False
        self.allowed: set[str | None] = {"CAPTURE_NOT_FOUND"}
        """Reasons of errors that a client may be told."""
        self.refused: Counter[str | None] = Counter()

    async def run(self, readers: Sequence[Reader] = ()) -> None:
        """Load the service; ends by itself only with the service, or after `stop`."""
        following = [asyncio.create_task(r.follow(self._service)) for r in readers]
        work = [self._repeat(functools.partial(self._one, c)) for c in self._cameras]
        work += [self._repeat(w) for w in (self._come_back, self._group, self._delete)]
        work += [self._repeat(self._download)]
        try:
            await asyncio.gather(*work)
            if self._gone:
                await asyncio.gather(*following)  # they end by themselves, too
        finally:
            for task in following:
                task.cancel()
            await asyncio.wait(following)

    def stop(self) -> None:
        """Ask for nothing more; what is under way ends."""
        self._stopping = True

    async def _repeat(self, work: Callable[[], Awaitable[object]]) -> None:
        while not (self._stopping or self._gone):
            try:
                await work()
            except grpc.aio.AioRpcError as error:
                if gone(error):
                    self._gone = True
                    return
                reason = error_info(error).reason
                if reason not in self.allowed:
                    raise
                self.refused[reason] += 1
            await asyncio.sleep(0)

    async def _one(self, camera: str) -> None:
        rng = self._ledger.rng
        request = self._ledger.request(
            camera, pinned=rng.random() < _PINNED, with_id=rng.random() >= _WITHOUT_ID
        )
        await self._ledger.capture(self._service, request)

    async def _come_back(self) -> None:
        """Ask again for what was never answered: in this life, or in an earlier one."""
        ledger = self._ledger
        if not ledger.doubtful:
            await asyncio.sleep(0.01)
            return
        await ledger.capture(self._service, ledger.rng.choice(list(ledger.doubtful.values())))
        ledger.succeeded["asked again"] += 1

    async def _group(self) -> None:
        chosen = self._ledger.rng.sample(self._cameras, k=min(2, len(self._cameras)))
        requests = [self._ledger.request(camera) for camera in chosen]
        if await self._ledger.group(self._service, requests):
            self._ledger.succeeded["groups"] += 1

    async def _delete(self) -> None:
        chosen = self._ledger.some()
        await asyncio.sleep(0.01)  # a deletion each so often; nothing is waited for
        if chosen is not None:
            await self._ledger.delete(self._service, chosen)

    async def _download(self) -> None:
        chosen = self._ledger.some()
        if chosen is None or chosen in self._ledger.deleted:
            await asyncio.sleep(0.01)
        else:
            await self._ledger.download(self._service, chosen)
