"""How pytest-xdist shares out the rigs' tests: those of the webcams, in one guest, to one process.

With `--dist loadgroup`, whose own groups do nothing with pytest 9.2: xdist 3.8 writes a test's
group into an attribute that pytest no longer reads.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

_GUEST = "tests/rigs/v4l2/"


class OneGuest(LoadScopeScheduling):
    """Each test is given to the next process that is free, the guest's tests all to one."""

    def _split_scope(self, nodeid: str) -> str:
        return _GUEST if nodeid.startswith(_GUEST) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Return the scheduler of `--dist loadgroup`."""
    return OneGuest(config, log) if config.getvalue("dist") == "loadgroup" else None
