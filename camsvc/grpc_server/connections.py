"""The connections of clients: how many there may be, and which end for the sake of the others.

gRPC refuses connections beyond a number, and cannot end any: what a client does not take, or never
begins, stays for as long as it likes. So they are ended where the system has them.
"""

import asyncio
import ipaddress
from collections.abc import Collection

import structlog

from camsvc.grpc_server.untaken import Untaken
from camsvc.model.caller import Caller
from camsvc.model.errors import QueueFull
from camsvc.model.retry_hint import PLACE_FREED_S
from camsvc.system import posix

_LOOK_S = 5.0
"""Also for how long a new connection may be without a call when there are many."""

_log = structlog.get_logger()


def caller_of(peer: str) -> Caller:
    """Return who calls, from the name that gRPC has for a connection: "ipv4:127.0.0.1:50000"."""
    return Caller(address=peer.rpartition(":")[0], connection=peer)


class Connections:
    """Those of one listening port."""

    def __init__(self, most: int, untaken: Untaken) -> None:
        """Share `most` connections: one address has half of those that are used, at most."""
        self._most = most
        self._untaken = untaken
        self._used: set[Caller] = set()
        """Over which there has been a call, as far as they were there at the last look."""
        self._silent: Collection[Caller] = ()
        """Over which there had been none at the last look."""

    def use(self, caller: Caller) -> None:
        """Note that there is a call over a connection.

        Raises:
            QueueFull: its address uses too many of them.
        """
        if caller in self._used:
            return
        allowed = max(1, self._most // 2)
        if sum(other.address == caller.address for other in self._used) >= allowed:
            raise QueueFull(
                f"{allowed} connections from your address are in use, half of the service's "
                "max_connections; come back over one of them",
                retry_after_s=PLACE_FREED_S,
                metadata={"limit": str(allowed)},
            )
        self._used.add(caller)

    async def watch(self, port: int) -> None:
        """Look again and again for connections that have to end."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look(port)

    def look(self, port: int) -> None:
        """End those whose replies pile up, and, where there are many, those that are not used."""
        connected = {_caller(*peer): peer for peer in posix.connected(port)}
        self._untaken.keep(connected)
        self._used.intersection_update(connected)
        silent = connected.keys() - self._used
        ended = set(self._untaken.stuck())
        if len(connected) > self._most // 2:
            ended |= silent.intersection(self._silent)
        self._silent = silent
        if ended := ended & connected.keys():
            _log.warning("connections ended", count=len(ended), of=len(connected))
            posix.disconnect(port, {connected[caller] for caller in ended})


def _caller(host: str, port: int) -> Caller:
    """Return a connection's caller by the name that gRPC has for it."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    name = f"ipv4:{address}" if address.version == 4 else f"ipv6:%5B{address}%5D"
    return caller_of(f"{name}:{port}")
