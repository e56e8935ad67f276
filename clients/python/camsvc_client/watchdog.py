"""Notices that a connection has fallen silent, although it stands, and whether the service has.

A service that is stopped (SIGSTOP), hangs, or is cut off without a reset leaves its connection
open: a call would wait for ever. So while an answer is due and nothing was heard for a while, the
service is asked something that it answers at once. HTTP/2 pings would not do: gRPC and proxies
answer those by themselves, whatever the service does, and gRPC permits one every 5 s only.

A router that has forgotten an idle connection looks the same, and the service is well: so it is
asked over a new connection, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import grpc

Probe = Callable[[float], Awaitable[bool]]

_DIAL_AFTER = 0.25
"""Of the time in which the service has to answer: most answers are there by then."""


class ServiceSilent(Exception):
    """Nothing comes over the connection, although it stands.

    `answers_anew`: over a new connection the service answers; the call may be made again.
    """

    def __init__(self, *, answers_anew: bool) -> None:
        super().__init__(answers_anew)
        self.answers_anew = answers_anew


class Watchdog:
    """Watches over the calls of one connection.

    Nothing may be heard for `silence_s` seconds: after half of it, `probe` asks the service, with
    the other half as its time-out, and returns whether there was an answer; `probe_anew` does so
    over a new connection.
    """

    def __init__(self, silence_s: float, probe: Probe, probe_anew: Probe) -> None:
        self.silent = False
        """Whether nothing comes any more. Final: the connection cannot be used."""
        self._answers_anew = False
        self._half_s = silence_s / 2
        self._probe = probe
        self._probe_anew = probe_anew
        self._loop = asyncio.get_running_loop()
        self._calls: set[grpc.aio.Call] = set()
        self._due = False
        """Whether an answer is due, maybe to a call that has ended meanwhile."""
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
            self._hear()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.silent and not (task and task.cancelling()):
                raise self._silence() from None
            raise
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                self._hear()
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
            raise self._silence()
        if not self._due:
            self._heard_at = self._loop.time()
        self._calls.add(call)
        self._due = True
        if not self._timer:
            self._timer = self._loop.call_later(self._half_s, self._on_timer)

    def _hear(self) -> None:
        self._heard_at = self._loop.time()
        self._due = False

    def _silence(self) -> ServiceSilent:
        return ServiceSilent(answers_anew=self._answers_anew)

    def _on_timer(self) -> None:
        self._timer = None
        quiet_s = self._loop.time() - self._heard_at
        waiting = self._calls or self._due
        if waiting and quiet_s < self._half_s:
            self._timer = self._loop.call_later(self._half_s - quiet_s, self._on_timer)
        elif waiting and (self._probing is None or self._probing.done()):
            self._probing = self._loop.create_task(self._check(), name="probe the service")

    async def _check(self) -> None:
        asked_at = self._loop.time()
        dialling = self._loop.create_task(self._dial(), name="probe the service anew")
        try:
            if await self._probe(self._half_s):
                self._hear()
            if self._heard_at >= asked_at:  # also an answer to a call counts
                self._timer = self._timer or self._loop.call_soon(self._on_timer)
                return
            self._answers_anew = await dialling
        finally:
            dialling.cancel()
            await asyncio.wait([dialling])
        self.silent = True
        for call in list(self._calls):
            call.cancel()

    async def _dial(self) -> bool:
        await asyncio.sleep(_DIAL_AFTER * self._half_s)
        return await self._probe_anew((1 - _DIAL_AFTER) * self._half_s)
