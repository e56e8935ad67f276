"""What every command has: the connection, the choice of output, and the end by an error."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer

from camsvc_client import DEFAULT_ADDRESS, AsyncCameraClient, CamsvcError, Retry, Tls
from camsvc_client.camctl import exits, output
from camsvc_client.camctl.output import complain

Address = Annotated[
    str | None,
    typer.Option(
        "--address", "-a", metavar="HOST:PORT", help="The service. Default: $CAMSVC_ADDRESS."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON instead of text.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", min=0.001, help="Give up after so long. Default: the service's bounds."
    ),
]

RETRY = Retry(give_up_after_s=30.0, reconnect_s=1.0)
"""A person at the terminal wants to know soon that the service is not there."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How the command line says to reach the service."""

    address: str = DEFAULT_ADDRESS
    tls: Tls | None = None
    token: str | None = None

    def client(self, address: str | None = None, retry: Retry = RETRY) -> AsyncCameraClient:
        """Make a client; a command's own address goes before."""
        return AsyncCameraClient(
            address or self.address, tls=self.tls, token=self.token, retry=retry
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A command's connection, and whether a program reads what it says."""

    client: AsyncCameraClient
    json: bool


def run(
    context: typer.Context,
    address: str | None,
    json: bool,
    work: Callable[[Session], Awaitable[None]],
    *,
    patient: Retry | None = None,
) -> None:
    """Do a command's work; end the process with the exit code of its error, if any.

    One that is `patient` with the service later on wants it to be there at the beginning.
    """

    async def connected() -> None:
        if patient:
            async with connection.client(address) as client:
                await client.list_cameras()
        async with connection.client(address, patient or RETRY) as client:
            await work(Session(client, json))

    connection = context.obj if isinstance(context.obj, Connection) else Connection()
    # Commands tell themselves what the client would log.
    logging.getLogger("camsvc_client").addHandler(logging.NullHandler())
    try:
        asyncio.run(connected())
    except CamsvcError as error:
        _end(error, str(error), exits.code_of(error), json=json)
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        raise  # whoever read our output has left; click ends quietly
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _end(error, what or type(error).__name__, exits.OTHER, json=json)
    except ValueError as error:
        _end(error, str(error), exits.USAGE, json=json)


def _end(problem: Exception, message: str, code: int, *, json: bool) -> NoReturn:
    output.error(problem, message, json=json)
    raise typer.Exit(code) from None


def usage(message: str) -> NoReturn:
    """End the command: what was typed is wrong."""
    complain(message)
    raise typer.Exit(exits.USAGE)


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Split NAME=VALUE arguments."""
    found = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            usage(f"{option}: {text!r} is not of the form NAME=VALUE")
        found[name] = value
    return found


def moment(text: str | None, option: str) -> datetime | None:
    """Read a time: ISO 8601, or a span before now such as 90s, 15m, 2h, 7d."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    if text[-1:] in units and text[:-1].replace(".", "", 1).isdigit():
        span_s = float(text[:-1]) * units[text[-1]]
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() - span_s, UTC)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        usage(f"{option}: {text!r} is no time; allowed: 2026-05-17T14:00, or 90s, 15m, 2h, 7d ago")


def interactive() -> bool:
    """Whether a person watches."""
    return sys.stdout.isatty()
