"""Notices that the service has fallen silent, although its connection stands.

A service that is stopped (SIGSTOP), hangs, or is cut off without a reset leaves its connection
open: a call would wait for ever. So while calls wait and nothing was heard for a while, the service
is asked something that it answers at once. HTTP/2 pings would not do: gRPC and proxies answer those
by themselves, whatever the service does, and gRPC permits one every 5 s only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import grpc


class ServiceSilent(Exception):
    """The service does not answer, although the connection stands."""


class Watchdog:
    """Watches over the calls of one connection.

    Nothing may be heard for `silence_s` seconds: after half of it, `probe` asks the service, with
    the other half as its time-out, and returns whether there was an answer.
    """

    def __init__(self, silence_s: float, probe: Callable[[float], Awaitable[bool]]) -> None:
        self.silent = False
        """Whether the service has fallen silent. Final: the connection cannot be used any more."""
        self._half_s = silence_s / 2
        self._probe = probe
        self._loop = asyncio.get_running_loop()
        self._calls: set[grpc.aio.Call] = set()
        self._heard_at = 0.0
        self._timer: asyncio.Handle | None = None
        self._probing: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, call: grpc.aio.Call) -> Iterator[None]:
        """Watch while the caller waits for something of a call.

        Raises:
            ServiceSilent: the service has fallen silent; the call is cancelled.
        """
        self._add(call)
        try:
            yield
            self._heard_at = self._loop.time()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.silent and not (task and task.cancelling()):
                raise ServiceSilent from None
            raise
        finally:
            self._calls.discard(call)

    async def close(self) -> None:
        """Stop watching."""
        if self._timer:
            self._timer.cancel()
        if self._probing:
            self._probing.cancel()
            await asyncio.wait([self._probing])

    def _add(self, call: grpc.aio.Call) -> None:
        if self.silent:
            call.cancel()
            raise ServiceSilent
        if not self._calls:
            self._heard_at = self._loop.time()
        self._calls.add(call)
        if not self._timer:
            self._timer = self._loop.call_later(self._half_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        quiet_s = self._loop.time() - self._heard_at
        if self._calls and quiet_s < self._half_s:
            self._timer = self._loop.call_later(self._half_s - quiet_s, self._on_timer)
        elif self._calls and (self._probing is None or self._probing.done()):
            self._probing = self._loop.create_task(self._check(), name="probe the service")

    async def _check(self) -> None:
        asked_at = self._loop.time()
        if await self._probe(self._half_s):
            self._heard_at = self._loop.time()
        if self._heard_at >= asked_at:  # also an answer to a call counts
            self._timer = self._timer or self._loop.call_soon(self._on_timer)
            return
        self.silent = True
        for call in list(self._calls):
            call.cancel()
