"""Tests that run in a guest: their reports written there, and read here.

Inside, this is a plug-in of pytest (`-p tests.rigs.v4l2.remote`) that writes each report as a line
of JSON to the host. Outside, `Run` has the guest and gives them back, one test after the other.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.running import RigMissing, reason
from tests.rigs.v4l2.guest import PORT, Guest
from tests.rigs.v4l2.webcam import make_frames
from tests.support import left_out

SILENCE_S = 1200.0
"""The longest that the guest may say nothing: a test's own time-out there, or the boot, on a host
so busy that the guest gets a fifth of a processor."""

_LAST_WORDS = 3000

_ORDER = "with pytest-xdist, the rigs need --dist loadgroup"

FRAMES = "CAMSVC_RIG_FRAMES"
"""The variable that names the webcams' frames, in the guest and nowhere else."""

_TEST_S = 240
_OPTIONS = (
    *("-p", "tests.rigs.v4l2.remote", "-p", "no:cacheprovider", f"--timeout={_TEST_S}"),
    *("-n", "0"),
)


class _Reporter:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._port = open(PORT, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 - to the end

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._port.write(json.dumps(data) + "\n")

    def pytest_unconfigure(self) -> None:
        self._port.close()


def pytest_configure(config: pytest.Config) -> None:
    """Begin reporting to the host."""
    config.pluginmanager.register(_Reporter(config))


class Run:
    """A guest that runs pytest. `close` ends it."""

    def __init__(self, root: Path, tests: Sequence[str]) -> None:
        """`root` is the repository's folder, `tests` are their node ids."""
        self._stack = ExitStack()
        self._why_not: RigMissing | None = None
        self._lines: Iterator[str] = iter(())
        self._own = Path(tempfile.mkdtemp(prefix="camsvc-rig-v4l2-"))
        """What is this run's alone: frames, scripts, the guest's console."""
        self._kept = False
        frames = self._own / "frames"
        make_frames(frames)
        self._guest = Guest(
            self._own,
            [sys.executable, "-m", "pytest", *_OPTIONS, *tests],
            folder=root,
            env={"PATH": os.environ["PATH"], "HOME": "/root", FRAMES: str(frames)},
            silence_s=SILENCE_S,
        )
        try:
            self._lines = self._stack.enter_context(self._guest).lines()
        except RigMissing as error:
            self._why_not = error

    def close(self) -> None:
        """End the guest, and remove its folder unless it was lost."""
        self._stack.close()
        if not self._kept:
            shutil.rmtree(self._own)

    def reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """Yield a test's reports as they come; the tests come in their order."""
        try:
            while self._why_not is None:
                found = _report(item.config, json.loads(next(self._lines)))
                assert found.nodeid == item.nodeid, f"the guest runs {found.nodeid}: {_ORDER}"
                yield found
                if found.when == "teardown":
                    return
        except RigMissing as error:
            self._why_not = error
        except (StopIteration, TimeoutError, AssertionError) as error:
            self._kept = True
            said = f"{self._guest.console[-_LAST_WORDS:]}\nThe whole console is in {self._own}"
            yield _made(item, "failed", f"the guest ended or hangs: {error!r}\n{said}")
            return
        yield _missing(item, self._why_not)


def _report(config: pytest.Config, data: dict[str, Any]) -> pytest.TestReport:
    found = config.hook.pytest_report_from_serializable(config=config, data=data)
    assert isinstance(found, pytest.TestReport)
    return found


def _missing(item: pytest.Item, why: RigMissing) -> pytest.TestReport:
    """Return the report of a test whose rig cannot run: skipped, but failed in CI."""
    if left_out.refused():
        return _made(item, "failed", reason(why))
    path, line, _ = item.location
    return _made(item, "skipped", (str(path), line or 0, reason(why)))


def _made(item: pytest.Item, outcome: str, text: object) -> pytest.TestReport:
    """Return a report that was not made by running a test."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=text,  # type: ignore[arg-type]
        when="setup",
    )
