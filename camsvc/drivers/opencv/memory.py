"""What is known of a source from before: it outlives the driver, and its process.

What a server refuses is permanent where it never worked; where it did, the camera may be starting.
"""

import json
import time

from camsvc.drivers.base import DriverState
from camsvc.model.errors import DeviceAway, DriverFault

_LONGEST_PAUSE_S = 300.0
"""However long a server asks to be left alone."""


class Memory:
    """Whether the source has ever worked, and until when its server asked to be left alone."""

    def __init__(self, state: DriverState) -> None:
        self._state = state
        known = json.loads(state.value or b"{}")
        self._worked: bool = known.get("worked", False)
        self._not_before: float = known.get("not_before", 0.0)
        self._cause: str = known.get("cause", "")

    def note_working(self) -> None:
        """A picture has come."""
        if not self._worked:
            self._worked = True
            self._save()

    def refusal(self, why: str) -> Exception:
        """Return the error of a refusal that would be permanent if it had never been otherwise."""
        return DeviceAway(why) if self._worked else DriverFault(why)

    def leave_alone(self, seconds: float, why: str) -> DeviceAway:
        """Return the error of a server that asks to be asked again only after a while."""
        self._not_before = time.monotonic() + min(seconds, _LONGEST_PAUSE_S)
        self._cause = why
        self._save()
        return DeviceAway(why)

    def check(self) -> None:
        """Ask a server that is to be left alone nothing.

        Raises:
            DeviceAway: it is one.
        """
        if time.monotonic() < self._not_before:
            raise DeviceAway(self._cause)

    def _save(self) -> None:
        known = {"worked": self._worked, "not_before": self._not_before, "cause": self._cause}
        self._state.save(json.dumps(known).encode())
