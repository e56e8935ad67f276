"""What libgphoto2 lets hear besides the codes that its functions return, which say little.

An error's text goes to the context, and what the port met to the log. Which answer of the camera
led to it is often to be seen on the wire only, which the log shows where it is asked for.
"""

import contextlib
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import gphoto2 as gp

CONTEXT = gp.Context()
"""To be handed to libgphoto2's functions: many of their errors differ by their text only."""

OK = 0x2001
"""PTP's response code of what has worked."""

_BLOCK_BYTES = 200_000
"""In these the library counts what comes, where that is more than two of them."""

_PORT_FAILURE = re.compile(r"(?:to|from) port failed: .*\((-\d+)\)")
_RESPONSE = re.compile(r"0000  \w\w 00 00 00 03 00 (\w\w) (\w\w)-")
"""The head of a response in a hexadecimal dump: its length, its kind, its code."""

_texts: deque[str] = deque(maxlen=1)
_port_failures: deque[int] = deque(maxlen=1)
_responses: set[int] = set()


def begin() -> None:
    """Forget what was heard before."""
    _texts.clear()
    _port_failures.clear()
    _responses.clear()


def in_words(error: gp.GPhoto2Error) -> str:
    """Return what the library says of an error that has just come."""
    return f"(libgphoto2 says {', '.join((str(error.code), error.string, *_texts))})"


def text() -> str:
    """Return the last text of an error; empty: there was none."""
    return "".join(_texts)


def port_failure() -> int | None:
    """Return the library's code of what the port has met last; None: nothing."""
    return _port_failures[0] if _port_failures else None


def responses() -> frozenset[int]:
    """Return PTP's response codes of what has failed on the wire, while that was listened to."""
    return frozenset(_responses)


@contextlib.contextmanager
def wire() -> Iterator[None]:
    """Listen to the wire. Not during transfers: the library writes down each byte."""
    listening = gp.gp_log_add_func(gp.GP_LOG_DATA, _on_data, None)
    try:
        yield
    finally:
        del listening


_report: Callable[[int], None] | None = None
_blocks = 0


@contextlib.contextmanager
def arrivals(report: Callable[[int], None]) -> Iterator[None]:
    """Call `report` while data come by a call that was given `CONTEXT`, with how many bytes more.

    A file comes by one transfer or by many; some of Canon's while one waits for an event.
    """
    global _report  # noqa: PLW0603 - the library's callbacks get no object of ours that changes
    _report = report
    try:
        yield
    finally:
        _report = None


def _on_error(_: Any, said: bytes, __: Any) -> None:
    _texts.append(said.decode(errors="replace"))


def _on_log(_: Any, __: Any, line: str, ___: Any) -> None:
    if failure := _PORT_FAILURE.search(line):
        _port_failures.append(int(failure[1]))


def _on_data(_: Any, domain: str, line: str, __: Any) -> None:
    if domain == "gp_port_read" and (response := _RESPONSE.search(line)):
        code = int(response[2] + response[1], 16)
        if code != OK:
            _responses.add(code)


def _on_begin(_: Any, __: float, ___: Any, ____: Any) -> int:
    global _blocks  # noqa: PLW0603 - as `_report`
    _blocks = 0
    return 0


def _on_blocks(_: Any, __: int, blocks: float, ___: Any) -> None:
    global _blocks  # noqa: PLW0603 - as `_report`
    if _report is not None:
        _report(int(blocks - _blocks) * _BLOCK_BYTES)
    _blocks = int(blocks)


_listeners = (  # until they are freed
    CONTEXT.set_error_func(_on_error, None),
    CONTEXT.set_progress_funcs(_on_begin, _on_blocks, lambda *_: None, None),
    gp.gp_log_add_func(gp.GP_LOG_ERROR, _on_log, None),
)
