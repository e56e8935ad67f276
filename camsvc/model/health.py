"""How well a camera works, by how often it failed in a row."""

from enum import Enum

_WARNING_FROM, _CRITICAL_FROM = 3, 5
"""One failure is what a retry is for; five in a row are no accident any more."""


class Health(Enum):
    """The degrees."""

    GOOD = "GOOD"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @classmethod
    def of(cls, failures: int) -> "Health":
        """Return the degree for so many failures in a row."""
        if failures >= _CRITICAL_FROM:
            return cls.CRITICAL
        return cls.WARNING if failures >= _WARNING_FROM else cls.GOOD
