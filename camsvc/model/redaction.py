"""Passwords and tokens of the settings, kept out of texts.

The first defence is that nothing says them: what is secret in the settings has a type of its own.
This is the second, for what a library says of an address that it was given: it looks like a login,
or it is one of the secrets that the settings have, in any of the ways in which an address may have
it written.

A process has one list of them: a service those of all its cameras, a worker those of its own.
"""

import base64
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from camsvc.model.printable import printable

HIDDEN = "***"
_LEAST, _LONG = 4, 8
"""Characters of a secret that is found by itself, and of one that is found in a word, too. Shorter
ones are a part of many a word and number."""

_NAMES = (
    r"(?<!com)(?<!by)pass(?!iv|thr|age)|pwd|secret|token|credential|auth(?!or)|signature"
    r"|(?:api|private|access)[_.-]?key"
)
_NAMED = re.compile(_NAMES, re.IGNORECASE)
# What repeats has a bound: else a hostile text would take the time of its length squared.
_PARAMETER = re.compile(
    rf"([?&;][\w.-]{{0,30}}(?:{_NAMES})[\w.-]{{0,30}}=)([^&;#\s\"'<>]+)", re.IGNORECASE
)
_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)([^\s\"'<>/]{0,500})@")
_SCHEME = "://"

_known: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """Have this process's texts go without these secrets, too."""
    _known.update(text for text in secrets if len(text) >= _LEAST)
    _pattern.cache_clear()


def redacted(text: str) -> str:
    """Return a text without the secrets that are known, and without a login in any address."""
    if _SCHEME in text:
        text = _without_logins(text)
    return _pattern().sub(HIDDEN, text) if _known else text


def shown(text: str) -> str:
    """Return a text as a log and a terminal may have it: without secrets, with nothing to obey.

    Its lines stay.
    """
    return printable(redacted(text), keep="\n")


def _without_logins(text: str) -> str:
    return _PARAMETER.sub(rf"\1{HIDDEN}", _LOGIN.sub(rf"\1{HIDDEN}@", text))


@functools.cache
def _pattern() -> re.Pattern[str]:
    # The longest first: one may be a part of another.
    forms = map(_any_form, sorted(_known, key=len, reverse=True))
    return re.compile("|".join(forms), re.IGNORECASE)


def masked(value: object, name: str = "") -> object:
    """Return a value of the settings, right or wrong, as a message may have it."""
    match value:
        case Mapping():
            return {key: masked(member, str(key)) for key, member in value.items()}
        case list() | tuple():
            return [masked(member, name) for member in value]
        case str() if _SCHEME in value:  # the login of a wrong one may have anything in it
            return _without_logins(re.sub(r"://.*@", f"://{HIDDEN}@", value, flags=re.DOTALL))
    return HIDDEN if _NAMED.search(name) else value


def secrets_in(value: object, name: str = "") -> Iterator[str]:
    """Yield what is secret in a table of settings: what is named so, and logins in addresses."""
    match value:
        case Mapping():
            for key, member in value.items():
                yield from secrets_in(member, str(key))
        case list() | tuple():
            for member in value:
                yield from secrets_in(member, name)
        case str() if _SCHEME in value:
            yield from _secrets_of(value)
        case str() if _NAMED.search(name):
            yield value


def _secrets_of(url: str) -> Iterator[str]:
    # Of one that is not encoded, as it may be where FFmpeg alone reads it, all before the last @.
    logins = [login for _, login in _LOGIN.findall(url)]
    for login in logins or [url.partition(_SCHEME)[2].rpartition("@")[0]]:
        user, colon, password = login.partition(":")
        yield from (password, unquote(password))
        if colon:  # as HTTP sends it
            yield base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    for _, token in _PARAMETER.findall(url):
        yield from (token, unquote(token))


def _any_form(secret: str) -> str:
    """Return a pattern of each character as it is, percent-encoded, or as Python or JSON has it."""
    pattern = "".join(_any_form_of_one(character) for character in secret)
    return pattern if len(secret) >= _LONG else rf"(?<!\w){pattern}(?!\w)"


def _any_form_of_one(character: str) -> str:
    encoded = "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))
    escaped = character.encode("unicode_escape").decode()
    forms = {character, encoded, escaped, f"\\u{ord(character):04x}"}
    if not character.isalnum():
        forms |= {f"\\{character}", "+" if character == " " else character}
    return f"(?:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))})"
