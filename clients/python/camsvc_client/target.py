"""Where the service is and how to connect to it: address, encryption, token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import grpc

from camsvc_client.channel import channel_options

Option = tuple[str, int | str]
Token = str | Callable[[], str]


@dataclass(frozen=True, slots=True)
class Tls:
    """An encrypted connection. Files are PEM.

    `ca` has the authorities to trust, by default the system's. `certificate` and `key` are the
    client's own, both or neither. `server_name` is the name in the service's certificate, where it
    is not that of the address.

    Example:
        client = AsyncCameraClient("rig.example:443", tls=Tls(ca=Path("rig-ca.pem")), token="...")
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: one of them cannot be read.
        """
        files = (self.ca, self.key, self.certificate)
        return grpc.ssl_channel_credentials(*(f.read_bytes() if f else None for f in files))


@dataclass(frozen=True, slots=True)
class Target:
    """A service: its address, and how to connect to it."""

    address: str
    tls: Tls | None = None
    token: Token | None = field(default=None, repr=False)
    http_proxy: bool = False
    options: Sequence[Option] = ()

    def __post_init__(self) -> None:
        if not self.address:
            raise ValueError("the address is empty; allowed: host:port, such as 127.0.0.1:50051")
        if self.tls and (self.tls.certificate is None) != (self.tls.key is None):
            raise ValueError("a client's certificate goes with its key: give both, or neither")
        if self.token is not None and self.tls is None and not _is_this_machine(self.address):
            raise ValueError(
                f"a token for {self.address} without encryption could be read by others; "
                "allowed: tls=Tls(...), or an address of this machine"
            )

    def open(self, *, live_view: bool = False) -> grpc.aio.Channel:
        """Open a channel with a connection of its own, without retries by gRPC."""
        options = [
            *channel_options(live_view=live_view, retries=False, http_proxy=self.http_proxy),
            # Two channels that share a connection would not be two connections.
            ("grpc.use_local_subchannel_pool", 1),
            *self.options,
        ]
        if self.tls is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        if self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return grpc.aio.secure_channel(self.address, self.tls.credentials(), options=options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what every call carries."""
        if self.token is None:
            return ()
        token = self.token if isinstance(self.token, str) else self.token()
        return (("authorization", f"Bearer {token}"),)


def _is_this_machine(address: str) -> bool:
    """Whether what is sent to an address stays on this machine; in doubt, no."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
