"""Live views to test with, in virtual time."""

from collections.abc import Iterator

import pytest

from tests.support.fakelive import LiveRig


@pytest.fixture
def rig() -> Iterator[LiveRig]:
    with LiveRig() as rig:
        yield rig


@pytest.fixture
def flowing(rig: LiveRig) -> LiveRig:
    """A camera with one viewer, who has seen a second of it."""
    rig.watch()
    rig.open()
    rig.flow(1)
    return rig
