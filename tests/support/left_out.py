"""What tests leave out for want of something of the system, and the command that brings it.

A test is skipped, or failed in CI, with a reason of one form; at the end of the run, one line sums
these up. Reasons are plain text, so that they come back from pytest-xdist's workers and the rigs.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

_FORM = re.compile(r"^(?:Skipped: )?(?P<why>.+); to have it: (?P<bring>.+)$", re.DOTALL)


def refused() -> bool:
    """Whether leaving a test out is a failure: in CI, where everything can be had."""
    return bool(os.environ.get("CI"))


def reason(why: str, bring: str) -> str:
    """Return the reason of a test that is left out; `bring` is a command, or empty."""
    return f"{why}; to have it: {bring}" if bring else why


def lacking(why: str, bring: str) -> None:
    """Leave the test out for a reason, which the command `bring` does away with; in CI, fail it."""
    if refused():
        pytest.fail(reason(why, bring), pytrace=False)
    pytest.skip(reason(why, bring))


def summary(reasons: Sequence[str]) -> str:
    """Return the line that sums up the reasons of skipped tests; empty when there is none."""
    brought = Counter(found["bring"] for text in reasons if (found := _FORM.match(text)))
    parts = [f"{_tests(count)} (to have: {bring})" for bring, count in brought.most_common()]
    return f"left out: {', '.join(parts)}" if parts else ""


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print the line, last before pytest's own."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    texts = [str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)]
    if line := summary(texts):
        terminalreporter.write_line(line, yellow=True)
