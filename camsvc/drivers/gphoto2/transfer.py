"""The files of a shot on their way from the camera: rather fetched again than taken again.

The camera keeps what it has reported. So a transfer that was cut off is made again, at last over a
new connection, and the shutter is not pressed for it.
"""

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Protocol, TypeVar

import gphoto2 as gp

from camsvc.drivers.gphoto2 import hearing, library
from camsvc.drivers.gphoto2.hearing import CONTEXT
from camsvc.drivers.gphoto2.library import failures
from camsvc.drivers.gphoto2.progress import Progress
from camsvc.images import jpeg
from camsvc.model.errors import DeviceAway, DriverError, DriverFault
from camsvc.model.values import File

E = TypeVar("E", bound=Exception)

JPEG = "image/jpeg"
_HEIF, _TIFF = "image/heif", "image/tiff"
_MIME_TYPES = {
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".heic": _HEIF,
    ".heif": _HEIF,
    ".hif": _HEIF,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".arw": "image/x-sony-arw",
    ".cr2": "image/x-canon-cr2",
    ".cr3": "image/x-canon-cr3",
    ".crw": "image/x-canon-crw",
    ".dng": "image/x-adobe-dng",
    ".nef": "image/x-nikon-nef",
    ".nrw": "image/x-nikon-nrw",
    ".orf": "image/x-olympus-orf",
    ".pef": "image/x-pentax-pef",
    ".raf": "image/x-fuji-raf",
    ".rw2": "image/x-panasonic-rw2",
}
"""libgphoto2 calls most of them unknown."""

DEVELOPED = (JPEG, _HEIF, _TIFF)
"""Any other file is taken for a raw one, which makers give new names every few years."""

_MOST_BYTES = 1 << 30
"""A camera that says more of a picture is wrong."""
_PART_BYTES = 1 << 20
"""Some cameras do not give more at once."""
_UNREADABLE = (gp.GP_ERROR_NOT_SUPPORTED, gp.GP_ERROR_BAD_PARAMETERS)
"""What it says of cameras that give whole files only, and of files that it has in memory."""
_HEAD_BYTES = 64
_PAUSE_S = 0.1
_SAME_PART = 1 / 4
"""Of the time in which it is tried, how much over the connection that is there."""
_SAME_TRIES, _ODD_TRIES = 2, 3
"""How often a file is fetched that comes, and is not what it should be: over the connection that is
there, and in all. The library asks for a file's size once in each connection."""


class Link(Protocol):
    """What a transfer needs of the camera."""

    @property
    def camera(self) -> Any:
        """libgphoto2's open camera. Raises DriverError: there is none at present."""

    def renew(self, error: DriverError) -> None:
        """Connect again, after an error. Raises: as `Driver.recover`."""


class _Odd(DriverError):
    """A file that came is not what it should be."""

    def __init__(self, file: File, what: str) -> None:
        super().__init__(f"corrupt picture: the camera's file {file.name!r} {what}")
        self.file = file


class Transfer:
    """The transfer of one shot's files. `again_s` is how long it is tried after a failure."""

    def __init__(self, link: Link, progress: Progress, again_s: float) -> None:
        self._link = link
        self._progress = progress
        self._again_s = again_s
        self._failed_at: float | None = None
        """When the first failure was."""
        self._total = 0
        """How many bytes come in all; 0: nobody knows."""
        self._here = 0
        """How many have come, of whole files and of the one under way."""
        self.failed: dict[str, DriverError | DriverFault] = {}
        """By their names, files that could not be fetched, or are not whole; and why."""

    def files(self, places: Sequence[tuple[str, str]]) -> list[File]:
        """Fetch files, named by folder and name, in this order; return what came of them."""
        self._progress.fetching()
        self._total = self._announced(places)
        files = []
        for folder, name in places:
            try:
                files.append(self._file(folder, name))
            except (DriverError, DriverFault) as error:
                self.failed[name] = _alone(error)
                if isinstance(error, _Odd) and error.file.data:
                    files.append(error.file)
        return files

    def _announced(self, places: Sequence[tuple[str, str]]) -> int:
        sizes = []
        with contextlib.suppress(DriverError, gp.GPhoto2Error):  # fetching them fails by it, too
            sizes = [_announced(self._link.camera, *place) or 0 for place in places]
        return sum(sizes) if all(sizes) else 0

    def _file(self, folder: str, name: str) -> File:
        """Fetch a file, as often as it takes.

        Raises:
            _Odd: it stays odd.
            DriverError, DriverFault: it does not come.
        """
        here, failure = self._here, None
        for tries in itertools.count(1):
            self._here = here
            try:
                if failure is not None and self._is_renewal_due(failure, tries):
                    self._link.renew(failure)
                return self._fetched(folder, name)
            except DriverError as error:
                failure = _alone(error)
            is_settled = isinstance(failure, _Odd) and tries >= _ODD_TRIES
            if is_settled or self._again_left_s <= 0:
                break
            time.sleep(_PAUSE_S)
        raise failure or DriverError("the picture was not fetched")

    @property
    def _again_left_s(self) -> float:
        """How long after the first failure files are still fetched again."""
        now = time.monotonic()
        self._failed_at = self._failed_at or now
        return self._failed_at + self._again_s - now

    def _is_renewal_due(self, failure: DriverError, tries: int) -> bool:
        if isinstance(failure, _Odd):
            return tries > _SAME_TRIES
        same_s = _SAME_PART * self._again_s
        return isinstance(failure, DeviceAway) or self._again_left_s < self._again_s - same_s

    def _fetched(self, folder: str, name: str) -> File:
        """Fetch a file once. Raises: as `_file`."""
        camera, here = self._link.camera, self._here
        with failures("fetching the picture"), hearing.arrivals(self._came):
            announced = _announced(camera, folder, name)
            data = self._in_parts(camera, folder, name, announced or 0) or library.contents(
                camera.file_get(folder, name, gp.GP_FILE_TYPE_NORMAL, None, CONTEXT)
            )
        self._came(here + len(data) - self._here)
        suffix = PurePosixPath(name).suffix.lower()
        file = File(name, _MIME_TYPES.get(suffix, "application/octet-stream"), data, announced)
        what = _oddity(file)
        if what and announced and _is_whole_jpeg(file):  # cameras do announce wrong sizes
            return replace(file, announced_bytes=None)
        if what:
            raise _Odd(file, what)
        return file

    def _in_parts(self, camera: Any, folder: str, name: str, size: int) -> bytes:
        """Fetch a large file in parts, as the library itself does, but unheard; b"": it cannot."""
        data = memoryview(bytearray(size if size > _PART_BYTES else 0))
        begun, at = self._here, 0
        while at < len(data):
            part = data[at : at + _PART_BYTES]
            try:
                count = camera.file_read(folder, name, gp.GP_FILE_TYPE_NORMAL, at, part, CONTEXT)
            except gp.GPhoto2Error as error:
                if at or error.code not in _UNREADABLE:
                    raise
                return b""
            if not count:
                break
            at += count
            self._came(begun + at - self._here)
        return bytes(data[:at])

    def _came(self, count: int) -> None:
        self._here += count
        if self._total:
            self._progress.fetched(self._here / self._total)
        else:
            self._progress.flows()


def _alone(error: E) -> E:
    """Return an error without the calls that led to it, which hold the connection that it ended."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _announced(camera: Any, folder: str, name: str) -> int | None:
    """Return the size that the camera says a file has; None: it does not, or cannot be right."""
    try:
        info = camera.file_get_info(folder, name, CONTEXT).file
    except gp.GPhoto2Error as error:
        if error.code != gp.GP_ERROR_NOT_SUPPORTED:
            raise
        return None
    size = info.size if info.fields & gp.GP_FILE_INFO_SIZE else 0
    return size if 0 < size <= _MOST_BYTES else None


def _oddity(file: File) -> str:
    """Return what is wrong with a file as far as can be seen at once; empty: nothing."""
    head, size = file.data[:_HEAD_BYTES], len(file.data)
    if not size:
        return "is empty"
    if file.mime_type == JPEG and not head.startswith(b"\xff\xd8"):
        return "is not a JPEG"
    if not head.strip(b"\0") or head.lstrip().startswith(b"<"):
        return "is not a picture"
    if file.announced_bytes not in (None, size):
        return f"has {size} bytes of {file.announced_bytes}"
    if file.mime_type == JPEG and file.announced_bytes is None and not _is_whole_jpeg(file):
        return f"is cut off after {size} bytes"
    return ""


def _is_whole_jpeg(file: File) -> bool:
    try:
        jpeg.whole_size(file.data)
    except DriverError:
        return False
    return file.mime_type == JPEG
