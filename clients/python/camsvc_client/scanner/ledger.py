"""The progress of a scan, in a file, so that it can be resumed after any interruption.

Lines are only ever appended, each synced to disk before the scan continues; a line that is cut off
by the end of the process does not count. The first line has the plan and the scan's id, from which
the ids of all its requests follow: a picture that was asked for twice is taken once.
"""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from camsvc_client.files import lock, named, sync_folder
from camsvc_client.scanner.plan import Plan, PlanDiffers

FILE = "scan.jsonl"
_VERSION = 1

Key = tuple[int, str]
"""A point's number and a camera's id."""


class Ledger:
    """The state of a scan in a folder, read when it is opened. Use as `with`."""

    def __init__(self, folder: Path, plan: Plan | None) -> None:
        """Open the ledger of a folder, or begin one.

        Raises:
            PlanDiffers: the folder has one, with another plan.
            ValueError: the folder has none and no plan is given; or it is damaged, or newer.
            OSError: the folder cannot be written, or another process scans in it.
        """
        self.folder = folder
        self._path = folder / FILE
        self.taken: dict[Key, str] = {}
        """The captures of pictures that were taken and are to be fetched, by point and camera."""
        self.saved: dict[Key, dict[str, Any]] = {}
        """The rows of pictures whose files are written."""
        self.failed: dict[Key, str] = {}
        """Why a picture is missing, where the last attempt failed."""
        if plan is None and not self._path.exists():
            raise _no_scan(folder)
        self._file = self._path.open("ab", buffering=0)
        try:
            lock(self._file)
            self._read(plan)
        except BaseException:
            self._file.close()
            raise

    def _read(self, plan: Plan | None) -> None:
        lines, self._length = _lines(self._path)
        if lines:
            self.plan, self.scan_id = _header(lines[0], self._path)
        if plan is not None and (not lines or plan.document() != self.plan.document()):
            if len(lines) > 1:
                raise PlanDiffers(
                    f"{self.folder} has a scan with another plan; resume that one without giving "
                    "a plan, or choose another folder"
                )
            # Nothing was taken by the previous plan, if any.
            self.plan, self.scan_id, self._length = plan, uuid.uuid4(), 0
            self._file.truncate(0)
            document = plan.document()
            self._append({"version": _VERSION, "scan_id": str(self.scan_id), "plan": document})
            sync_folder(self.folder)
        elif not lines:
            raise _no_scan(self.folder)
        else:
            self._file.truncate(self._length)
            for line in lines[1:]:
                self._apply(line)
            self._check_files()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def request_id(self, key: Key) -> str:
        """Return the request id of a picture, the same each time."""
        number, camera = key
        return str(uuid.uuid5(self.scan_id, f"{number}/{camera}"))

    def note(self, key: Key, **state: Any) -> None:
        """Note the state of a picture, and what belongs to it there.

        It is `taken`, with its capture's id; `saved`, with its row of the manifest; or `failed`,
        with why it is missing for now.
        """
        line = {"point": key[0], "camera": key[1], **state}
        self._append(line)
        self._apply(line)

    def _apply(self, line: Mapping[str, Any]) -> None:
        key = (line["point"], line["camera"])
        self.taken.pop(key, None)
        self.failed.pop(key, None)
        states: dict[str, dict[Key, Any]]
        states = {"taken": self.taken, "saved": self.saved, "failed": self.failed}
        for name in states.keys() & line.keys():
            states[name][key] = line[name]

    def _check_files(self) -> None:
        """Have pictures fetched again whose files are missing, or are not what was saved."""
        for key, row in list(self.saved.items()):
            file = self.folder / row["file"]
            if not file.is_file() or file.stat().st_size != row["size_bytes"]:
                del self.saved[key]
                self.taken[key] = row["capture_id"]

    def _append(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        try:
            self._write_synced(data)
        except OSError as error:
            self._file.truncate(self._length)  # the next line must not continue half a line
            raise named(error, self._path) from None
        self._length += len(data)

    def _write_synced(self, data: bytes) -> None:
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        os.fsync(self._file.fileno())


def _no_scan(folder: Path) -> ValueError:
    return ValueError(f"{folder} has no scan to resume; give cameras and a pattern")


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of a ledger, and how many bytes they are."""
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    try:
        return [json.loads(line) for line in whole.splitlines()], len(whole)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _header(line: Mapping[str, Any], path: Path) -> tuple[Plan, uuid.UUID]:
    if line.get("version") != _VERSION:
        raise ValueError(f"{path} is of another version of this program")
    return Plan.of(line["plan"]), uuid.UUID(line["scan_id"])
