"""What the rigs share: how their commands run, and how a rig that cannot run here says so.

A developer without what a rig needs gets the reason, and CI has it.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import left_out

_STEP_S = 600.0
"""For each command; a slow mirror takes some minutes for 90 MB."""

_CAUSES = (
    re.compile(r": (?:fatal )?error: |: undefined reference to |: cannot find "),  # cc and ld
    re.compile(r"^E: "),  # apt
    re.compile(r"^npm (?:error|ERR!) (?!code |errno |syscall |path |A complete log)\S"),
    re.compile(r"connection broken by "),  # pip goes on to say that the index has no such package
    re.compile(r"^ERROR: (?!Exception:$)"),  # pip
)
"""What the lines look like that say why a command failed, those of inner programs first: pip shows
the compiler's words, and then says that it did not succeed."""

_TRACEBACK = re.compile(
    r"^(?P<margin>[ ]*)Traceback \(most recent call last\):\n"
    r"(?:(?:(?P=margin)[ ]+.*|[ ]*)\n)*"
    r"(?P=margin)(?P<error>\S.*)$",
    re.MULTILINE,
)


class RigMissing(Exception):
    """A rig cannot run here; the text says why, in one line, and `bring` the command that helps."""

    def __init__(self, why: str, bring: str = "") -> None:
        super().__init__(why)
        self.bring = bring

    def __str__(self) -> str:
        return f"the rig cannot run: {super().__str__()}"


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Skip the test whose rig is missing, saying why; in CI, fail it."""
    try:
        yield
    except RigMissing as why:
        if left_out.refused():
            pytest.fail(reason(why), pytrace=False)
        pytest.skip(reason(why))


def reason(why: RigMissing) -> str:
    """Return why a test is left out, in the form that the end of the run sums up."""
    return left_out.reason(str(why), why.bring)


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        RigMissing: it failed; with the line of its output that says why.
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
        why = cause(done.stderr) or cause(done.stdout) or f"exit code {done.returncode}"
        raise RigMissing(f"{Path(command[0]).name} failed: {why}")
    return done.stdout


def cause(output: str) -> str:
    """Return the line of a failed command's output that says why; empty when there is no output."""
    lines = [line for line in output.splitlines() if line.strip()]
    compiler, *others = _CAUSES
    found = next(filter(compiler.search, lines), None)
    if found is None and (tracebacks := list(_TRACEBACK.finditer(output))):
        found = tracebacks[-1]["error"]
    for pattern in others:
        found = found or next(filter(pattern.search, lines), None)
    return (found or (lines or [""])[-1]).strip()
