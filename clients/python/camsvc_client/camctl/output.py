"""Output for people and programs: text and tables by Rich, JSON as the contract maps it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from camapi.v1 import camera_pb2 as pb
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.text import Text

from camsvc_client import CamsvcError
from camsvc_client.camctl import tables
from camsvc_client.camctl.plain import plain
from camsvc_client.camctl.tables import Column

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_STATE_STYLES = {
    **dict.fromkeys(("ready", "succeeded", "live"), "green"),
    **dict.fromkeys(("opening", "capturing"), "cyan"),
    **dict.fromkeys(("away", "recovering", "rejected", "cancelled"), "yellow"),
    **dict.fromkeys(("faulted", "failed", "unreachable", "offline"), "bold red"),
}


def say(text: str) -> None:
    """Print a line that may have Rich's markup; what another program reads is not broken up."""
    out.print(text, soft_wrap=not sys.stdout.isatty())


def complain(message: str) -> None:
    """Print an error for people."""
    err.print(f"[bold red]camctl:[/] {plain(message)}", soft_wrap=not sys.stderr.isatty())


def hint(text: str) -> None:
    """Print a note on stderr, apart from the output."""
    err.print(f"[dim]{plain(text)}[/]", soft_wrap=not sys.stderr.isatty())


def error(problem: Exception, message: str, *, json: bool) -> None:
    """Print an error: a sentence, or for a program a document on stderr."""
    if not json:
        complain(message)
        return
    document: dict[str, object] = {"reason": None, "message": message}
    if isinstance(problem, CamsvcError):
        document |= {
            "reason": problem.reason,
            "code": problem.code.name,
            "metadata": dict(problem.metadata),
            "retry_after_s": problem.retry_after_s,
            "request_id": problem.request_id,
        }
    print(json_module.dumps({"error": document}), file=sys.stderr, flush=True)  # noqa: T201


def emit(document: object) -> None:
    """Print a JSON document, in which there may be messages, on a line of its own."""
    text = json_module.dumps(document, ensure_ascii=False, default=_message)
    if not text.isprintable():  # what a terminal would obey is an escape of JSON's
        text = "".join(c if c.isprintable() else json_module.dumps(c)[1:-1] for c in text)
    print(text, flush=True)  # noqa: T201


def _message(message: Message) -> dict[str, Any]:
    """Return a message as ProtoJSON (64-bit numbers are texts), under its own names."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def table(*columns: Column, rows: Iterable[Sequence[str]]) -> Text:
    """Return a table that fits the terminal; its cells may have markup."""
    width = out.width if sys.stdout.isatty() else None
    return tables.table(out, columns, rows, width=width)


def facts(entries: Mapping[str, str | None]) -> Text:
    """Return names and values under each other, without those that are empty."""
    rows = [(f"[dim]{name}[/]", value) for name, value in entries.items() if value]
    return table(Column(), Column(prose=True), rows=rows)


def show(text: Text) -> None:
    """Print text that is broken into lines already."""
    out.print(text, soft_wrap=True)


def state(name: str) -> str:
    """Return a state, in its colour."""
    shown = name.lower()
    style = _STATE_STYLES.get(shown)
    return f"[{style}]{shown}[/]" if style else shown


def camera_state(camera: pb.Camera) -> str:
    """Return a camera's state, in its colour."""
    return state(pb.Camera.State.Name(camera.state).removeprefix("STATE_"))


def clock(when: Timestamp) -> str:
    """Return a time as the wall clock here shows it; the date only when it is not today."""
    local = when.ToDatetime(UTC).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """Return a number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.1f} kB"
