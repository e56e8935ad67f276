"""What every command has: the service's address, the choice of output, and exit codes."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from inspect import Signature, signature
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec

import typer
from rich.text import Text

from camsvc_client import (
    DEFAULT_ADDRESS,
    AsyncCameraClient,
    CamsvcError,
    OnRetry,
    Retried,
    Retry,
    Tls,
)
from camsvc_client.camctl import exits, output
from camsvc_client.camctl.output import complain

P = ParamSpec("P")

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
"""A person at the terminal wants to know soon that the service cannot be reached."""


_NOTICED_S = 2.0
"""So long a person waits without asking why; most waits are over by then."""

_SAY_IT_THEMSELVES = ("LiveView", "CaptureEvents")
"""Streams: their commands show what state they are in."""


@dataclass(frozen=True, slots=True)
class Service:
    """The service, as the command line names it."""

    address: str = DEFAULT_ADDRESS
    tls: Tls | None = None
    token: str | None = None
    http_proxy: bool = False

    def client(self, retry: Retry = RETRY, on_retry: OnRetry | None = None) -> AsyncCameraClient:
        """Make a client."""
        return AsyncCameraClient(
            self.address,
            tls=self.tls,
            token=self.token,
            retry=retry,
            on_retry=on_retry,
            http_proxy=self.http_proxy,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A command's service and client, and whether a program reads its output."""

    service: Service
    client: AsyncCameraClient
    json: bool

    def answer(self, document: object, text: Text) -> None:
        """Print a JSON document for a program, or text."""
        if self.json:
            output.emit(document)
        else:
            output.show(text)


def command(
    work: Callable[Concatenate[Session, P], Awaitable[None]], *, retry: Retry = RETRY
) -> Callable[..., None]:
    """Make a command of a coroutine: with its parameters, --address and --json.

    The command ends the process with the exit code of its error, if any.
    """

    def run(
        context: typer.Context, *, address: Address = None, json: Json = False, **arguments: Any
    ) -> None:
        given = context.obj if isinstance(context.obj, Service) else Service()
        service = replace(given, address=address or given.address)

        async def connected() -> None:
            async with service.client(retry, None if json else _Waits().tell) as client:
                await work(Session(service, client, json), **arguments)  # type: ignore[call-arg]

        with _errors_as_exits(json=json):
            asyncio.run(connected())

    context, *common, _ = signature(run, eval_str=True).parameters.values()
    _, *own = signature(work, eval_str=True).parameters.values()
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in (context, *own, *common)]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__, run.__name__ = work.__doc__, work.__name__
    return run


class _Waits:
    """Says that a command waits, and why: once for each reason."""

    def __init__(self) -> None:
        self._told = ""

    def tell(self, retried: Retried) -> None:
        """Say it, unless the wait is too short to be noticed."""
        why = str(retried.error)
        if retried.call in _SAY_IT_THEMSELVES:
            return
        if why != self._told and retried.elapsed_s + retried.wait_s >= _NOTICED_S:
            self._told = why
            output.hint(f"waiting: {why}")


@contextmanager
def _errors_as_exits(*, json: bool) -> Iterator[None]:
    # Commands print themselves what the client would log.
    logging.getLogger("camsvc_client").addHandler(logging.NullHandler())
    try:
        yield
    except CamsvcError as error:
        _end(error, str(error), exits.code_of(error), json=json)
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        raise  # the reader of our output has ended; click ends quietly
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _end(error, what or type(error).__name__, exits.OTHER, json=json)
    except ValueError as error:
        _end(error, str(error), exits.USAGE, json=json)


def _end(problem: Exception, message: str, code: int, *, json: bool) -> NoReturn:
    output.error(problem, message, json=json)
    raise typer.Exit(code) from None


def usage(message: str) -> NoReturn:
    """End the command: its arguments are wrong."""
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
        usage(
            f"{option}: {text!r} is not a time; allowed: 2026-05-17T14:00, or 90s, 15m, 2h, 7d ago"
        )


def interactive() -> bool:
    """Whether a person watches."""
    return sys.stdout.isatty()
