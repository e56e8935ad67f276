"""Whether a message is what its classes' annotations say: every field's type and range.

Types are compared exactly (`True` is not an int; an int is good where a float is asked for), and
`object` allows anything. A number without a `Range` of its own has to fit into 64 bits, text has
to be encodable as UTF-8. A message has at most `MAX_ITEMS` items in its lists and dicts together,
so that a small one with many references to the same list cannot take seconds to check.

The checks are built from the annotations once, at their first use.
"""

import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from camsvc.model.limits import Range

MAX_ITEMS = 50_000

_T = TypeVar("_T")
_INT64 = Range(-(1 << 63), (1 << 63) - 1)


class ProtocolViolation(Exception):
    """Bytes that are not a message, or a message that nobody may send."""


_Items = Iterator[int]
"""Yields once for each item of a list or dict that may still be checked."""
_Check = Callable[[Any, _Items], None]
_Checks = dict[type, _Check]
"""The types that are allowed, and what else is asked of a value of each."""


def validate(message: object, allowed: type[_T]) -> _T:
    """Check a message, and return it.

    Raises:
        ProtocolViolation: it is not as annotated; the text names the field.
    """
    hint: Any = allowed
    try:
        _check(message, _checks(hint), iter(range(MAX_ITEMS)))
    except _Wrong as wrong:
        raise ProtocolViolation(f"{type(message).__name__}{wrong}") from None
    return cast(_T, message)


class _Wrong(Exception):
    """Says which field is wrong, as a path that is written from its end, and how."""


def _check(value: Any, checks: _Checks, items: _Items) -> None:
    check = checks.get(type(value))
    if check is not None:
        check(value, items)
    elif object not in checks:
        names = " or ".join(sorted(allowed.__name__ for allowed in checks))
        raise _Wrong(f" is of type {type(value).__name__}, not {names}")


@functools.cache
def _checks(hint: Any) -> _Checks:
    """Return what is allowed where `hint` is the annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {type_: check for part in arguments for type_, check in _checks(part).items()}
    if origin is Annotated:
        (limits,) = (extra for extra in arguments[1:] if isinstance(extra, Range))
        return dict.fromkeys(_checks(arguments[0]), _in_range(limits))
    if origin in (list, tuple):
        length = len(arguments) if origin is tuple else None
        return {origin: _each(_checks(arguments[0]), length)}
    if origin is dict:
        return {dict: _each_entry(_checks(arguments[0]), _checks(arguments[1]))}
    return _LEAVES.get(hint) or {hint: _each_field(hint)}


def _in_range(limits: Range) -> _Check:
    minimum, maximum = limits

    def check(value: float, _: _Items) -> None:
        if not minimum <= value <= maximum:
            raise _Wrong(f" is out of its range: {minimum} to {maximum}")

    return check


def _text(value: str, _: _Items) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Wrong(" is not valid text") from None


def _anything(value: object, _: _Items) -> None:
    pass


_LEAVES: dict[object, _Checks] = {
    int: {int: _in_range(_INT64)},
    float: {float: _anything, int: _in_range(_INT64)},
    str: {str: _text},
    bool: {bool: _anything},
    bytes: {bytes: _anything},
    type(None): {type(None): _anything},
    object: {object: _anything},
}


def _each(of: _Checks, length: int | None = None) -> _Check:
    def check(values: list[Any], items: _Items) -> None:
        if length is not None and len(values) != length:
            raise _Wrong(f" has {len(values)} items, not {length}")
        for number, value in enumerate(values):
            _count(items)
            try:
                _check(value, of, items)
            except _Wrong as wrong:
                raise _Wrong(f"[{number}]{wrong}") from None

    return check


def _each_entry(keys: _Checks, values: _Checks) -> _Check:
    def check(entries: dict[Any, Any], items: _Items) -> None:
        for number, (key, value) in enumerate(entries.items()):
            _count(items)
            try:
                _check(key, keys, items)
                _check(value, values, items)
            except _Wrong as wrong:
                raise _Wrong(f"[{number}]{wrong}") from None

    return check


def _count(items: _Items) -> None:
    if next(items, None) is None:
        raise _Wrong(f" has too many items; allowed: {MAX_ITEMS} in a message")


def _each_field(cls: Any) -> _Check:
    @functools.cache
    def checked() -> list[tuple[str, Callable[[Any], Any], _Checks]]:
        hints = get_type_hints(cls, include_extras=True)
        names = [field.name for field in fields(cls)]
        return [(name, attrgetter(name), _checks(hints[name])) for name in names]

    def check(value: object, items: _Items) -> None:
        for name, get, checks in checked():
            try:
                _check(get(value), checks, items)
            except _Wrong as wrong:
                raise _Wrong(f".{name}{wrong}") from None
            except AttributeError:  # its state was left out
                raise _Wrong(f".{name} is missing") from None

    return check
