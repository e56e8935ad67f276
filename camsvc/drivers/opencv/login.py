"""Logging in to a server: HTTP's Basic and Digest schemes (RFC 7617 and 7616), which RTSP shares.

Nothing is sent before the server has asked for it. A password that the server refuses is not sent
again: cameras lock accounts.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

_DIGESTS = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}
MOST_REQUESTS = 3
"""One without a login, one with it, and one more where the server takes its own nonce for too old.
So a password is sent twice at most, whatever the server says."""

_WORD = re.compile(
    r"""[\s,]*(?:(?P<key>[\w-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))"""
    r"|(?P<scheme>[^\s,]+))"
)


@dataclass(frozen=True, slots=True)
class _Challenge:
    scheme: str
    values: dict[str, str]

    @property
    def algorithm(self) -> str:
        return self.values.get("algorithm", "MD5").upper()

    @property
    def strength(self) -> int:
        """The larger, the better; 0: it cannot be answered."""
        if self.scheme == "basic":
            return 1
        allowed = self.values.get("qop", "auth").lower().replace(",", " ").split()
        if self.scheme != "digest" or "auth" not in allowed or "nonce" not in self.values:
            return 0
        return {"MD5": 2, "SHA-256": 3}.get(self.algorithm.removesuffix("-SESS"), 0)


class Login:
    """One user's login at one server; it goes on from request to request."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._challenge: _Challenge | None = None
        self._count = 0
        """How many requests have answered the challenge."""

    def accepts(self, challenges: Sequence[str]) -> bool:
        """Take the challenges of a refused request; return whether another one may succeed.

        It may where none was answered yet, or where the server takes an answer for too old.
        """
        offered = [found for text in challenges for found in _challenges(text)]
        best = max(offered, key=lambda challenge: challenge.strength, default=None)
        if best is None or not best.strength:
            return False
        first = self._challenge is None
        too_old = best.values.get("stale", "").lower() == "true" or self._count > 1
        self._challenge, self._count = best, 0
        return first or (too_old and best.scheme == "digest")

    def header(self, method: str, target: str) -> str | None:
        """Return the value of `Authorization` for a request; None while nothing was asked for."""
        challenge = self._challenge
        if challenge is None:
            return None
        self._count += 1
        if challenge.scheme == "basic":
            text = f"{self._user}:{self._password}"
            return f"Basic {base64.b64encode(text.encode()).decode()}"
        return self._digest(challenge, method, target)

    def _digest(self, challenge: _Challenge, method: str, target: str) -> str:
        values = challenge.values
        new = _DIGESTS[challenge.algorithm.removesuffix("-SESS")]

        def digest(*parts: str) -> str:
            return new(":".join(parts).encode(), usedforsecurity=False).hexdigest()

        realm, nonce = values.get("realm", ""), values["nonce"]
        cnonce, count = secrets.token_hex(8), f"{self._count:08x}"
        secret = digest(self._user, realm, self._password)
        if challenge.algorithm.endswith("-SESS"):
            secret = digest(secret, nonce, cnonce)
        request = digest(method, target)
        quoted = {"username": self._user, "realm": realm, "nonce": nonce, "uri": target}
        plain = {}
        if "qop" in values:
            quoted["response"] = digest(secret, nonce, count, cnonce, "auth", request)
            quoted["cnonce"] = cnonce
            plain = {"qop": "auth", "nc": count}
        else:  # as before 1999, which cameras still do
            quoted["response"] = digest(secret, nonce, request)
        if "algorithm" in values:
            plain["algorithm"] = values["algorithm"]
        if "opaque" in values:
            quoted["opaque"] = values["opaque"]
        pairs = [f'{key}="{_escaped(value)}"' for key, value in quoted.items()]
        pairs += [f"{key}={value}" for key, value in plain.items()]
        return f"Digest {', '.join(pairs)}"


def _escaped(value: str) -> str:
    return " ".join(value.replace("\\", "\\\\").replace('"', '\\"').splitlines())


def _challenges(text: str) -> list[_Challenge]:
    """Return the challenges of one header: schemes, each with its parameters."""
    found: list[_Challenge] = []
    for word in _WORD.finditer(text):
        if scheme := word["scheme"]:
            found.append(_Challenge(scheme.lower(), {}))
        elif found:
            value = word["plain"] or re.sub(r"\\(.)", r"\1", word["quoted"] or "")
            found[-1].values[word["key"].lower()] = value
    return found
