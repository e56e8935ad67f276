"""Whether a rig can run here: a developer without what it needs is told why, and CI has it."""

import os

import pytest


def refuse(why: str) -> None:
    """Skip a test whose rig cannot run, saying why; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"the rig cannot run: {why}", pytrace=False)
    pytest.skip(f"the rig cannot run: {why}")
