"""A rig that cannot run says why, and is not overlooked in CI."""

import pytest

from tests.rigs.running import refuse


def test_without_what_it_needs_a_rig_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="the rig cannot run: no gcc"):
        refuse("no gcc")


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the rig cannot run: no gcc"):
        refuse("no gcc")
