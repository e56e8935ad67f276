"""A driver whose worker says of a still what is not so, or lays hands on the data folder.

As one would that a camera's stream has taken over. It does the deed that the file `deed` in its
`folder` names, once, in `capture`; what it needs besides, it is told there, too. Without a sandbox
it can do all of it; `data` is the service's data folder.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from camsvc.drivers.base import Driver, DriverState
from camsvc.ipc import messages as m
from camsvc.ipc.codec import FROM_WORKER
from camsvc.ipc.shared_memory import SharedBlock
from camsvc.model.values import DeviceInfo, Frame, Shot
from tests.support.misdeeds import TINY_JPEG

GIB = 1 << 30
HOUR_NS = 3600 * 10**9

LIES: dict[str, Callable[["Liar"], None]] = {}


def lie(function: Callable[["Liar"], None]) -> Callable[["Liar"], None]:
    LIES[function.__name__] = function
    return function


class Liar(Driver):
    """Takes a tiny picture, honestly unless it is told otherwise."""

    name = "liar"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._told = Path(settings["folder"]) / "deed"
        self.data = Path(settings["data"])
        self.victim = ""
        """Another camera's picture, relative to the data folder."""

    def open(self) -> DeviceInfo:
        return DeviceInfo(model="liar", formats=["JPEG"])

    def capture(self, shot: Shot) -> Frame:
        if self._told.exists():
            name, self.victim = self._told.read_text().split("\n")
            self._told.unlink()
            LIES[name](self)
        return Frame(time.time_ns(), encoded=TINY_JPEG, mime_type="image/jpeg")

    def close(self) -> None:
        pass

    @property
    def staged(self) -> Path:
        """The file that waits for this shot."""
        (path,) = (path for path in (self.data / "staging").iterdir() if path.suffix == ".1")
        return path

    def say(self, **wrong: object) -> None:
        """Say something else of the next picture."""

        def lying(picture: m.Captured) -> m.Captured:
            image: Any = replace(picture.image, **wrong)  # type: ignore[arg-type]
            return replace(picture, image=image)

        self._on_its_way(lying)

    def before_it_is_said(self, deed: Callable[[], object]) -> None:
        """Do something when the picture has been handed over."""

        def doing(picture: m.Captured) -> m.Captured:
            deed()
            return picture

        self._on_its_way(doing)

    def _on_its_way(self, change: Callable[[m.Captured], m.Captured]) -> None:
        really = FROM_WORKER.encode

        def encode(message_id: int, message: Any) -> bytes:
            if isinstance(message, m.Captured):
                message = change(message)
            return really(message_id, message)

        FROM_WORKER.encode = encode  # type: ignore[method-assign]


def _memory() -> SharedBlock:
    return SharedBlock(int(sys.argv[2]))


@lie
def more_bytes(liar: Liar) -> None:
    liar.say(size_bytes=len(TINY_JPEG) + 5000)


@lie
def fewer_bytes(liar: Liar) -> None:
    liar.say(size_bytes=10)


@lie
def all_the_bytes_there_may_be(liar: Liar) -> None:
    liar.say(size_bytes=GIB)


@lie
def memory_of_holes(liar: Liar) -> None:
    """A gigabyte of which nothing but a JPEG's head was written."""
    liar.say(size_bytes=GIB)
    liar.before_it_is_said(lambda: os.ftruncate(_memory().fd, os.fstat(_memory().fd).st_size + GIB))


@lie
def memory_cut_off(liar: Liar) -> None:
    liar.before_it_is_said(lambda: os.ftruncate(_memory().fd, 5000))


@lie
def another_type(liar: Liar) -> None:
    liar.say(mime_type="image/png")


@lie
def a_type_that_leads_out(liar: Liar) -> None:
    liar.say(mime_type="../../../../etc/cron.d/x")


@lie
def no_picture(liar: Liar) -> None:
    liar.before_it_is_said(lambda: _memory().write_still([b"<html>".ljust(_memory().still_bytes)]))


@lie
def taken_tomorrow(liar: Liar) -> None:
    liar.say(acquisition_time_ns=time.time_ns() + 24 * HOUR_NS)


@lie
def taken_last_year(liar: Liar) -> None:
    liar.say(acquisition_time_ns=time.time_ns() - 365 * 24 * HOUR_NS)


@lie
def taken_a_minute_ago(liar: Liar) -> None:
    liar.say(acquisition_time_ns=time.time_ns() - 60 * 10**9)


@lie
def link_to_the_journal(liar: Liar) -> None:
    _in_the_place(liar, lambda path: path.symlink_to(liar.data / "journal.sqlite3"))


@lie
def link_to_anothers_picture(liar: Liar) -> None:
    _in_the_place(liar, lambda path: path.symlink_to(liar.data / liar.victim))


@lie
def hard_link_to_anothers_picture(liar: Liar) -> None:
    _in_the_place(liar, lambda path: path.hardlink_to(liar.data / liar.victim))


@lie
def hard_link_to_the_journal(liar: Liar) -> None:
    _in_the_place(liar, lambda path: path.hardlink_to(liar.data / "journal.sqlite3"))


@lie
def fifo(liar: Liar) -> None:
    _in_the_place(liar, os.mkfifo)


@lie
def device(liar: Liar) -> None:
    _in_the_place(liar, lambda path: os.mknod(path, 0o020600, os.makedev(1, 5)))


@lie
def folder(liar: Liar) -> None:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "link").symlink_to(liar.data / "captures")
        (path / "file").touch()

    _in_the_place(liar, make)


@lie
def file_of_its_own(liar: Liar) -> None:
    _in_the_place(liar, lambda path: path.write_bytes(TINY_JPEG))


@lie
def a_second_name_for_the_file(liar: Liar) -> None:
    """By which it could be changed once it is kept."""
    staged = liar.staged
    staged.with_name("second").hardlink_to(staged)


@lie
def link_in_the_place_of_staging(liar: Liar) -> None:
    staging = liar.data / "staging"
    staging.rename(liar.data / "moved")
    staging.symlink_to(liar.data / "captures")


def _in_the_place(liar: Liar, make: Callable[[Path], object]) -> None:
    path = liar.staged
    path.unlink()
    make(path)
