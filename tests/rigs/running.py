"""What the rigs share: how one is made, and how it says that it cannot be had here.

A developer without what a rig needs is told why, and CI has it.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache/rigs"
"""What is fetched and made once; a folder for each rig."""

_STEP_S = 600.0
"""For each command; a slow mirror takes some minutes for 90 MB."""


class RigMissing(Exception):
    """A rig cannot run here; the text says why, in one line."""

    def __str__(self) -> str:
        return f"the rig cannot run: {super().__str__()}"


def required() -> bool:
    """Whether a rig that cannot run is a failure."""
    return bool(os.environ.get("CI"))


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Skip the test whose rig is missing, saying why; in CI, fail it."""
    try:
        yield
    except RigMissing as why:
        if required():
            pytest.fail(str(why), pytrace=False)
        pytest.skip(str(why))


def update_apt() -> None:
    """Have apt learn anew what there is to fetch.

    Raises:
        RigMissing: only root can.
    """
    if os.geteuid() != 0:
        raise RigMissing("apt-get knows no packages, or old ones: sudo apt-get update")
    run("apt-get", "update", "-qq")


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        RigMissing: it failed; with the line of its words that tells most.
    """
    try:
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_STEP_S,
            check=False,
        )
    except FileNotFoundError:
        raise RigMissing(f"it needs {command[0]}, which is not installed") from None
    except subprocess.TimeoutExpired:
        raise RigMissing(f"{command[0]} did not end within {_STEP_S:g} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        where = next((line for line in said if "error" in line.lower()), said[-1])
        raise RigMissing(f"{Path(command[0]).name} failed: {where.strip()}")
    return done.stdout
