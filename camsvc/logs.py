"""Structured logs: for people on a terminal, as JSON lines elsewhere.

Whoever reads the log can neither stop nor fail the service: lines are written by a thread of their
own, and those that find no room, or no reader, are lost and counted.
"""

import atexit
import io
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PENDING_LINES = 4096
"""Some seconds of the busiest service; what a reader that stops leaves behind in memory."""

_STDERR = 2
"""It is open, also where the process was started without (`open_standard_streams`)."""

_MOST_CHARACTERS = 16 * 1024
"""Of one value: a worker may write megabytes, and each is looked through on the event loop."""

_LAST_LINES_S = 1.0
"""How long the end of the process waits for the last lines to be written."""


class LogWriter(io.RawIOBase):
    """Takes lines without ever waiting or raising, and writes them to a file descriptor."""

    name = "log"

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(_PENDING_LINES)
        self._count = threading.Lock()
        self._is_torn = False
        self.lost = 0
        """How many lines were lost so far."""
        self._lost_reported = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        return True

    def write(self, line: "ReadableBuffer", /) -> int:
        """Take a whole line (on any thread)."""
        data = bytes(line)
        try:
            self._lines.put_nowait(data)
        except queue.Full:
            self._lose()
        return len(data)

    def finish(self) -> None:
        """Write what is pending, if that can be done soon."""
        try:
            self._lines.put(None, timeout=_LAST_LINES_S)
        except queue.Full:
            return
        self._thread.join(_LAST_LINES_S)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write_whole(line)
            except OSError:  # the reader is gone, or its disk is full
                self._lose()
                continue
            lost = self.lost - self._lost_reported
            if lost:
                self._lost_reported += lost
                structlog.get_logger().warning("log lines lost", count=lost)

    def _write_whole(self, line: bytes) -> None:
        left = b"\n" + line if self._is_torn else line
        while left:
            written = os.write(self._fd, left)
            self._is_torn = written < len(left)
            left = left[written:]

    def _lose(self) -> None:
        with self._count:
            self.lost += 1


def configure(log_format: str, level: str, shown: Callable[[str], str]) -> LogWriter:
    """Set structlog up; logs go to stderr. `log_format` is "auto", "console" or "json".

    `shown` takes out of a text what nobody may read in a log.
    """
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    as_json = log_format == "json" or (log_format == "auto" and not on_terminal)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without locals: there are passwords in them, and whole pictures.
    if as_json:
        without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared += [
            structlog.processors.ExceptionRenderer(without_locals),
            _Cleaner(shown),
            structlog.processors.JSONRenderer(),
        ]
    else:
        shared += [
            structlog.processors.format_exc_info,
            _Cleaner(shown),
            structlog.dev.ConsoleRenderer(
                colors=on_terminal, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    fd = _STDERR if sys.stderr is None else sys.stderr.fileno()
    writer = LogWriter(fd)
    atexit.register(writer.finish)
    text = io.TextIOWrapper(writer, "utf-8", "backslashreplace", write_through=True)
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(text),
    )
    return writer


class _Cleaner:
    """Takes out of an entry's values what nobody may read.

    Its event is a text of ours, in which a password that is a common word would be found.
    """

    def __init__(self, shown: Callable[[str], str]) -> None:
        self._shown = shown

    def __call__(
        self, _: object, __: str, entry: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return {
            key: value if key == "event" else self._clean(value) for key, value in entry.items()
        }

    def _clean(self, value: object) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case dict():
                return {str(key): self._clean(member) for key, member in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._clean(member) for member in value]
            case str():
                return self._shown(_cut(value))
        return self._shown(_cut(repr(value)))


def _cut(text: str) -> str:
    if len(text) <= _MOST_CHARACTERS:
        return text
    half = _MOST_CHARACTERS // 2
    return f"{text[:half]} [...] {text[-half:]}"
