"""A URL taken apart, once, for all who need its parts: settings, our own reader, the RTSP look.

User and password are percent-decoded here, and are in no message.
"""

import re
import string
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urljoin, urlsplit

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_ESCAPES = "write @ as %40, / as %2F, ? as %3F, # as %23, : as %3A, % as %25 in it"
_ESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_KEPT = string.punctuation


@dataclass(frozen=True, slots=True)
class Address:
    """Where a source is. `target` is what is asked for there, path and query, encoded."""

    scheme: str
    host: str
    port: int
    target: str
    user: str | None = None
    password: str = ""

    @property
    def is_secure(self) -> bool:
        """Whether it is reached through TLS."""
        return self.scheme in ("https", "rtsps")

    @property
    def server(self) -> tuple[str, str, int]:
        """Whom a connection leads to, and how it is spoken to."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The host as requests name it, with the port unless it is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def without_login(self) -> str:
        """The URL without user and password."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def redirected(self, location: str) -> "Address":
        """Return where an answer from here points to, with the login where it may be sent there.

        That is the same server, or the same host by TLS instead of without.

        Raises:
            ValueError: it is not an address.
        """
        there = parse(urljoin(self.without_login, location))
        if there.server == self.server or (there.host == self.host and there.is_secure):
            return replace(there, user=self.user, password=self.password)
        return replace(there, user=None, password="")


def parse(url: str) -> Address:
    """Return the parts of a URL.

    Raises:
        ValueError: it cannot be read in one way only; the text says how to write it.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a URL has no spaces and control characters; write a space as %20")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"the URL's host and port cannot be read: {_reason(url)}") from None
    login, at, _ = parts.netloc.rpartition("@")
    if not parts.hostname:
        raise ValueError(f"the URL names no host: {_reason(url)}")
    if "@" in login or _ESCAPED.search(login):
        raise ValueError(f"the URL's user or password is not percent-encoded: {_ESCAPES}")
    user, _, password = login.partition(":")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(
        scheme=parts.scheme.lower(),
        host=parts.hostname,
        port=_PORTS.get(parts.scheme.lower(), 0) if port is None else port,
        target=quote(target, safe=_KEPT),
        user=unquote(user) if at else None,
        password=unquote(password),
    )


def _reason(url: str) -> str:
    if "@" in url:
        return f"a user or password has to be percent-encoded: {_ESCAPES}"
    return "allowed is scheme://user:password@host:port/path"
