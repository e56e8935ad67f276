"""Where rigs are kept: outside the checkout, each under a hash of what it is made from.

So a second clean checkout fetches nothing, and two checkouts with different recipes do not disturb
each other. Nothing in a kept rig names a checkout.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import platformdirs

from tests.rigs.running import RigMissing

_UNUSED_S = 30 * 24 * 3600
"""After which a rig is removed, when another of its name is made."""

_failed: dict[Path, RigMissing] = {}
"""What could not be made is tried once in a process, not again for each test."""


def folder() -> Path:
    """Return the folder of all rigs: `camsvc-rigs` in XDG_CACHE_HOME, or in ~/.cache."""
    return platformdirs.user_cache_path("camsvc-rigs")


def rig(
    name: str, files: Iterable[Path], make: Callable[[Path], None], *, facts: Iterable[str] = ()
) -> Path:
    """Return the folder of a rig, which `make` fills if there is none of this recipe yet.

    The recipe is the content of `files`, those that make the rig among them, and `facts`. `make`
    gets a sibling of the folder, which is renamed when it is whole: what it makes finds its parts
    from where it is. Others who want a rig of this name meanwhile wait.

    Raises:
        RigMissing: by `make`.
    """
    kept = folder() / f"{name}-{_digest(files, facts)}"
    if kept in _failed:
        raise _failed[kept]
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with _lock(kept.with_name(f"{name}.lock")):
            if not kept.exists():
                _make(kept, make)
                _prune(kept, name)
    os.utime(kept)
    return kept


def _digest(files: Iterable[Path], facts: Iterable[str]) -> str:
    whole = hashlib.sha256()
    parts = [platform.machine(), *facts]
    for path in sorted(files):
        parts += [path.name, path.read_text()]
    for part in parts:
        whole.update(hashlib.sha256(part.encode()).digest())
    return whole.hexdigest()[:16]


def _make(kept: Path, make: Callable[[Path], None]) -> None:
    making = kept.with_name(f"{kept.name}.part")
    shutil.rmtree(making, ignore_errors=True)  # of one who was killed
    making.mkdir()
    try:
        make(making)
        making.rename(kept)
    except RigMissing as why:
        _failed[kept] = why
        raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _prune(kept: Path, name: str) -> None:
    for other in kept.parent.glob(f"{name}-*"):
        if other != kept and time.time() - other.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(other, ignore_errors=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed, be it by the process's death
        yield
