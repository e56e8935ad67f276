"""Who calls, and which of several callers gives way when there is not enough for all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

_PlaceT = TypeVar("_PlaceT")


@dataclass(frozen=True, slots=True)
class Caller:
    """One client, as far as the service can tell: a connection, and the address it comes from.

    Whoever calls over two connections is two callers; the users of a web page behind one back end
    are one.
    """

    address: str
    connection: str


NOBODY = Caller("", "")
"""Who calls from within the service."""


def gives_way(places: Mapping[_PlaceT, Caller], newcomer: Caller) -> _PlaceT | None:
    """Return the place that a newcomer is given; None: nobody has that many more than it.

    It is the newest one of whoever has most; `places` are in the order in which they were taken. So
    all are one caller's until others want some, and shared evenly then.
    """
    counts = Counter(places.values())
    most = max(counts, key=counts.__getitem__, default=newcomer)
    if counts[most] <= counts[newcomer] + 1:
        return None
    return [place for place, caller in places.items() if caller == most][-1]
