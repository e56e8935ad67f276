"""A connection to a camera on the network, each of whose waits ends.

It goes to the camera itself: no proxy is taken from the environment. What prevents it has a name,
and says what to look at; messages reach clients, so none names an address.
"""

import contextlib
import errno
import hashlib
import io
import socket
import ssl
import time
from typing import Any

from camsvc.drivers.opencv.address import Address
from camsvc.model.errors import DeviceAway, DriverFault

_CONNECT_S = 5.0
_KEEPALIVE = {"TCP_KEEPIDLE": 3, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""A camera that has lost its power is noticed after some 9 s, also in one of its pauses."""


class Connection:
    """An open connection. What is read has to come within the time that `allow` gave last."""

    def __init__(self, address: Address, *, timeout_s: float, fingerprint: str | None) -> None:
        """Connect, by TLS where the address says so.

        `fingerprint` is the SHA-256 of the one certificate to be accepted, in hexadecimal; None:
        any that the system trusts.

        Raises:
            DeviceAway: nobody answers.
            DriverFault: the certificate is not to be trusted.
        """
        self.server = address.server
        self._socket = _connected(address, min(timeout_s, _CONNECT_S))
        if address.is_secure:
            self._socket = _secured(self._socket, address, fingerprint)
        self.allow(timeout_s)

    def allow(self, seconds: float) -> None:
        """Give what comes next so much time, from now on."""
        self._until = time.monotonic() + seconds

    def send(self, data: bytes) -> None:
        """Send a request.

        Raises:
            OSError: the connection is lost.
        """
        self._socket.settimeout(max(0.001, self._until - time.monotonic()))
        self._socket.sendall(data)

    def receive_into(self, buffer: Any) -> int:
        """Wait for bytes; 0: there are no more.

        Raises:
            TimeoutError: none came in time.
            OSError: the connection is lost.
        """
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        return self._socket.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what `http.client` reads from."""
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Close it; a thread that waits for bytes gets the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class _Incoming(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.receive_into(buffer)


def _connected(address: Address, timeout_s: float) -> socket.socket:
    try:
        found = socket.create_connection((address.host, address.port), timeout_s)
    except (socket.gaierror, UnicodeError) as error:
        raise DeviceAway(
            "the host of the settings' `source` is unknown: look for a mistake in its name, or for "
            "a user or password that is not percent-encoded; or the name server is away"
        ) from error
    except ConnectionRefusedError as error:
        raise DeviceAway(
            "the camera refuses the connection: nothing listens at the port of the settings' "
            "`source`; check the port, and that the camera's service is on"
        ) from error
    except TimeoutError as error:
        raise DeviceAway(
            f"the camera does not answer within {timeout_s:g} s: it is off, or not at the address "
            "of the settings' `source`"
        ) from error
    except OSError as error:
        raise DeviceAway(
            f"the camera cannot be reached: {errno.errorcode.get(error.errno or 0, 'no route')}; "
            "check the network, and the address in the settings' `source`"
        ) from error
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not on every system
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return found


def _secured(plain: socket.socket, address: Address, fingerprint: str | None) -> socket.socket:
    context = ssl.create_default_context()
    if fingerprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it is compared below
    try:
        secured = context.wrap_socket(plain, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise DriverFault(
            f"the camera's certificate is not trusted ({error.verify_message}). If it is this "
            "camera's own, as most have, set tls_fingerprint in its settings to the certificate's "
            f"SHA-256: {_presented(address)}"
        ) from error
    except OSError as error:
        plain.close()
        raise DeviceAway(
            "the camera does not speak TLS at the port of the settings' `source`: check the port, "
            f"or whether it is {address.scheme.removesuffix('s')}://"
        ) from error
    if fingerprint and _sha256(secured.getpeercert(binary_form=True) or b"") != fingerprint:
        secured.close()
        raise DriverFault(
            "the camera's certificate is another one than tls_fingerprint in its settings says: "
            "look whether this is the camera, and whether its certificate was renewed"
        )
    return secured


def _presented(address: Address) -> str:
    try:
        pem = ssl.get_server_certificate((address.host, address.port), timeout=_CONNECT_S)
    except OSError:
        return "unknown"
    return _sha256(ssl.PEM_cert_to_DER_cert(pem))


def _sha256(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()
