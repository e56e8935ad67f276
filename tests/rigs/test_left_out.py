"""A run ends by saying what it left out for want of something of the system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import left_out

RUN_S = 60
HOOK = "from tests.support.left_out import pytest_terminal_summary\n"
TESTS = """
import pytest
from tests.support.left_out import lacking

@pytest.fixture(scope="session")
def browser():
    lacking("there is no browser", "apt-get install chromium")

@pytest.mark.parametrize("number", range(3))
def test_page(browser, number): ...

def test_certificate():
    lacking("there is no openssl", "apt-get install openssl")

def test_elsewhere():
    pytest.skip("this system has no such thing")

def test_good(): ...
"""


def run(folder: Path, *options: str, **env: str) -> list[str]:
    """Run the tests above in a process of their own; return the lines that it prints."""
    (folder / "conftest.py").write_text(HOOK)
    (folder / "test_it.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, *options, str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CI": "", **env},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_the_line_before_the_runners_own_says_what_is_missing(
    tmp_path: Path, processes: tuple[str, ...]
) -> None:
    *_, line, last = run(tmp_path, *processes)
    assert line == (
        "left out: 3 tests (to have: apt-get install chromium), "
        "1 test (to have: apt-get install openssl)"
    )
    assert "1 passed, 5 skipped" in last


def test_in_ci_what_is_missing_is_a_failure(tmp_path: Path) -> None:
    *_, last = run(tmp_path, CI="true")
    assert "1 failed, 1 passed, 1 skipped, 3 errors" in last


def test_what_no_command_brings_is_not_in_it() -> None:
    assert left_out.summary(["Skipped: there is no such device"]) == ""
