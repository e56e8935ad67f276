"""What the rigs share: how one says that it cannot run."""

import os

import pytest


class RigMissing(Exception):
    """A rig cannot run here; the text says why, in one line."""


def missing(item: pytest.Item, why: RigMissing) -> pytest.TestReport:
    """Return the report of a test whose rig cannot run: skipped, but failed in CI."""
    text = f"the rig cannot run: {why}"
    if os.environ.get("CI"):
        return report(item, "failed", text)
    path, line, _ = item.location
    return report(item, "skipped", (path, line or 0, text))


def report(item: pytest.Item, outcome: str, text: object) -> pytest.TestReport:
    """Return a report that was not made by running a test."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=text,  # type: ignore[arg-type]
        when="setup",
    )
