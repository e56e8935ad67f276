"""Runs the tests of this folder inside a guest, all in one, and reports them here one by one.

Outside, the first of them boots the guest, which runs pytest on the same tests; its reports come
back as they are made. Inside, these are ordinary tests, with webcams that can be told to fail.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.v4l2 import remote
from tests.rigs.v4l2.webcam import Webcam

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[2]

_BOOT_AND_TEST_S = remote.SILENCE_S + 100

_GUESTS = pytest.StashKey["remote.Run"]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the time that the guest may take to boot, or to say nothing."""
    if remote.FRAMES not in os.environ:
        for item in items:
            if item.path.is_relative_to(_FOLDER):
                item.add_marker(pytest.mark.timeout(_BOOT_AND_TEST_S))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Take a test's reports from the guest, where it runs."""
    if remote.FRAMES in os.environ or not item.path.is_relative_to(_FOLDER):
        return None
    stash = item.session.stash
    if _GUESTS not in stash:
        ours = [i.nodeid for i in item.session.items if i.path.is_relative_to(_FOLDER)]
        stash[_GUESTS] = remote.Run(_ROOT, ours)
    run = stash[_GUESTS]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in run.reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the guest."""
    if _GUESTS in session.stash:
        session.stash[_GUESTS].close()


@pytest.fixture(scope="session")
def _frames() -> Path:
    return Path(os.environ[remote.FRAMES])


@pytest.fixture(scope="session")
def _first_webcam(_frames: Path) -> Iterator[Webcam]:
    with Webcam("A1", _frames) as webcam:
        yield webcam


@pytest.fixture(scope="session")
def _second_webcam(_frames: Path) -> Iterator[Webcam]:
    with Webcam("B1", _frames) as webcam:
        yield webcam


@pytest.fixture
def webcam(_first_webcam: Webcam) -> Webcam:
    """Give a webcam that is plugged in and well."""
    _first_webcam.restore()
    return _first_webcam


@pytest.fixture
def neighbour(_second_webcam: Webcam) -> Webcam:
    """Give another one."""
    _second_webcam.restore()
    return _second_webcam
