"""Streams that go on after their connection was lost: what live view and events have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from camsvc_client.calls import Caller, Streaming
from camsvc_client.errors import CamsvcError, ServiceUnreachable
from camsvc_client.retry import FOR_EVER, NEVER
from camsvc_client.watchdog import ServiceSilent

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_log = logging.getLogger("camsvc_client")


async def resumed(
    caller: Caller, method: Streaming[Q, R], request: Callable[[], Q]
) -> AsyncGenerator[R | CamsvcError | None, None]:
    """Yield what comes on an endless stream, which is connected again and again.

    None when a connection has begun; an error whenever it is lost. `request` is called before each
    connection, so that it can say where to go on.

    Raises:
        CamsvcError: the service refused, so that trying again would not help, or it could not
            be reached, or had no room, for too long before the stream was connected once.
    """
    wanted = request()
    schedule = caller.schedule(type(wanted))
    for_ever = schedule
    if caller.retry != NEVER:
        for_ever = caller.schedule(type(wanted), retry=FOR_EVER)
    lost = False
    while True:
        wanted = request()
        begun = False
        raised: Exception | None = None
        error: CamsvcError = caller.unreachable("has ended the stream")
        try:
            async with aclosing(caller.messages(method, wanted)) as messages:
                async for message in messages:
                    begun = True
                    if message is not None:
                        schedule = for_ever
                        schedule.reset()
                        if lost:
                            address = caller.connections.target.address
                            _log.info("the camera service at %s is back", address)
                        lost = False
                    yield message
        except (grpc.aio.AioRpcError, ServiceSilent) as caught:
            raised, error = caught, caller.error(caught, wanted)
        if begun and isinstance(error, ServiceUnreachable):
            schedule = for_ever  # connected, though nothing came; a refusal may begin so, too
        wait = schedule.wait_s(error)
        if wait is None:
            raise error from raised
        if not lost:
            _log.warning("%s; trying again", error)
        lost = True
        yield error
        await asyncio.sleep(wait)
