"""Who calls, and which of several callers gives way when there is not enough for all."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


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


def greediest(holders: Iterable[Caller], newcomer: Caller) -> Caller | None:
    """Return who gives up one of its places to a newcomer; None: nobody has that many more.

    `holders` names each caller once for each place that it has. So all places are one caller's
    until others want some, and shared evenly then.
    """
    counts = Counter(holders)
    most = max(counts, key=counts.__getitem__, default=newcomer)
    return most if counts[most] > counts[newcomer] + 1 else None
