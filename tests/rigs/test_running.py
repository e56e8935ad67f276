"""A rig that cannot run says why, and is not overlooked in CI."""

import sys

import pytest

from tests.rigs.running import RigMissing, needed, run


def test_without_what_it_needs_a_rig_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="the rig cannot run: no gcc"), needed():
        raise RigMissing("no gcc")


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the rig cannot run: no gcc"), needed():
        raise RigMissing("no gcc")


def test_a_step_that_fails_is_told_by_its_own_words() -> None:
    with pytest.raises(RigMissing, match="failed: no such thing"):
        run(sys.executable, "-c", "raise SystemExit('no such thing')")
    with pytest.raises(RigMissing, match="it needs nowhere/to/be/found, which is not installed"):
        run("nowhere/to/be/found")
