"""Whether a message is what its classes' annotations say: every field's type and range.

Types are compared exactly (`True` is not an int; an int is good where a float is asked for), and
`object` allows anything. A number without a `Range` of its own has to fit into 64 bits, text has
to be encodable as UTF-8, and without a `Length` of its own has at most `MAX_TEXT` characters. A
message has at most `MAX_VALUES` values, those in its lists and dicts
included, so that a small one with many references to one list cannot take seconds to check.

The checks are built from the annotations once, at their first use.
"""

import functools
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from camsvc.model.errors import short
from camsvc.model.limits import Length, OneOf, Range

MAX_VALUES = 50_000
MAX_TEXT = 4096

_T = TypeVar("_T")
_INT64 = Range(-(1 << 63), (1 << 63) - 1)


class ProtocolViolation(Exception):
    """Bytes that are not a message, or a message that nobody may send."""


_Left = Iterator[int]
"""Yields once for each value that may still be checked."""
_Check = Callable[[Any, _Left], None]
_Checks = dict[type, _Check]
"""The types that are allowed, and what else is asked of a value of each."""
_Parts = Iterator[tuple[str, Any, _Checks]]
"""What a value consists of: how an error names a part, the part, and what is allowed there."""


def validate(message: object, allowed: type[_T]) -> _T:
    """Check a message, and return it.

    Raises:
        ProtocolViolation: it is not as annotated; the text names the field.
    """
    hint: Any = allowed
    try:
        _check(message, _checks(hint), iter(range(MAX_VALUES)))
    except _Wrong as wrong:
        raise ProtocolViolation(str(wrong).lstrip(". ")) from None
    return cast(_T, message)


class _Wrong(Exception):
    """Says which field is wrong, as a path that is written from its end, and how."""


def _check(value: Any, checks: _Checks, left: _Left) -> None:
    if next(left, None) is None:
        raise _Wrong(f" is one value too many; allowed: {MAX_VALUES} in a message")
    check = checks.get(type(value))
    if check is not None:
        check(value, left)
    elif object not in checks:
        allowed = " or ".join(sorted(map(_noun, checks)))
        raise _Wrong(f" is {_noun(type(value))}; allowed: {allowed}")


_NOUNS: dict[type, str] = {
    type(None): "nothing",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    bytes: "bytes",
    list: "a list",
    tuple: "a fixed list",
    dict: "a table",
}


def _noun(kind: type) -> str:
    """Return what a type is called in messages, which users of the service read, too."""
    if kind in _NOUNS:
        return _NOUNS[kind]
    if kind.__module__.startswith("camsvc."):
        return re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower()
    return "something of another kind"


@functools.cache
def _checks(hint: Any) -> _Checks:
    """Return what is allowed where `hint` is the annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {type_: check for part in arguments for type_, check in _checks(part).items()}
    if origin is Annotated:
        return _limited(arguments[0], *arguments[1:])
    if origin in (list, tuple):
        length = len(arguments) if origin is tuple else None
        return {origin: _each(functools.partial(_items, _checks(arguments[0]), length))}
    if origin is dict:
        return {dict: _each(functools.partial(_entries, *map(_checks, arguments)))}
    return _LEAVES.get(hint) or {hint: _each(functools.partial(_fields, _field_checks(hint)))}


def _limited(hint: Any, limit: Range | Length | OneOf) -> _Checks:
    """Return what is allowed where `hint` has a limit of its own."""
    match limit:
        case Range():
            return dict.fromkeys(_checks(hint), _in_range(limit))
        case OneOf(allowed):
            return {str: _one_of(allowed)}
        case Length(maximum) if hint is str:
            return {str: _text(maximum)}
        case Length(maximum):
            return {kind: _not_longer(maximum, check) for kind, check in _checks(hint).items()}


def _in_range(limits: Range) -> _Check:
    minimum, maximum = limits

    def check(value: float, _: _Left) -> None:
        if not minimum <= value <= maximum:
            raise _Wrong(f" is out of its range: {minimum} to {maximum}")

    return check


def _one_of(allowed: tuple[str, ...]) -> _Check:
    def check(value: str, _: _Left) -> None:
        if value not in allowed:
            raise _Wrong(f" is {short(value)}; allowed: {', '.join(allowed)}")

    return check


def _text(maximum: int) -> _Check:
    def check(value: str, _: _Left) -> None:
        if len(value) > maximum:
            raise _Wrong(f" has {len(value)} characters; allowed: {maximum}")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _Wrong(" is not valid text") from None

    return check


def _not_longer(maximum: int, then: _Check) -> _Check:
    def check(value: Any, left: _Left) -> None:
        if len(value) > maximum:
            raise _Wrong(f" has {len(value)} entries; allowed: {maximum}")
        then(value, left)

    return check


def _anything(value: object, _: _Left) -> None:
    pass


_LEAVES: dict[object, _Checks] = {
    int: {int: _in_range(_INT64)},
    float: {float: _anything, int: _in_range(_INT64)},
    str: {str: _text(MAX_TEXT)},
    bool: {bool: _anything},
    bytes: {bytes: _anything},
    type(None): {type(None): _anything},
    object: {object: _anything},
}


def _each(parts: Callable[[Any], _Parts]) -> _Check:
    def check(value: object, left: _Left) -> None:
        for name, part, checks in parts(value):
            try:
                _check(part, checks, left)
            except _Wrong as wrong:
                raise _Wrong(f"{name}{wrong}") from None

    return check


def _items(of: _Checks, length: int | None, values: list[Any]) -> _Parts:
    if length not in (None, len(values)):
        raise _Wrong(f" has {len(values)} items, not {length}")
    for number, value in enumerate(values):
        yield f"[{number}]", value, of


def _entries(keys: _Checks, values: _Checks, entries: dict[Any, Any]) -> _Parts:
    for number, (key, value) in enumerate(entries.items()):
        yield f"[{number}]", key, keys
        yield f"[{number}]", value, values


def _field_checks(cls: Any) -> list[tuple[str, _Checks]]:
    hints = get_type_hints(cls, include_extras=True)
    return [(field.name, _checks(hints[field.name])) for field in fields(cls)]


def _fields(known: list[tuple[str, _Checks]], message: object) -> _Parts:
    for name, checks in known:
        if not hasattr(message, name):  # its state was left out
            raise _Wrong(f".{name} is missing")
        yield f".{name}", getattr(message, name), checks
