"""What a message's fields are in JSON, and whether they are what its classes' annotations say.

Packing and unpacking are the checking: one pass, whose steps are made from the annotations once, at
their first use. A class becomes a list of its fields' values, in their order; a fixed list becomes
a list, bytes become hexadecimal digits, all else stays what it is. `object` is whatever JSON has.

Types are compared exactly (`True` is not an int; an int is good where a float is asked for). A
number without a `Range` of its own has to fit into 64 bits, text has to be encodable as UTF-8, and
without a `Length` of its own has at most `MAX_TEXT` characters.
"""

import functools
import re
import types
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from camsvc.model.errors import short
from camsvc.model.limits import Length, OneOf, Range

MAX_TEXT = 4096

_T = TypeVar("_T")
_INT64 = Range(-(1 << 63), (1 << 63) - 1)


class ProtocolViolation(Exception):
    """Bytes that are not a message, or a message that nobody may send."""


class Packing(Generic[_T]):
    """The two ways of one class."""

    def __init__(self, cls: type[_T]) -> None:
        hint: Any = cls
        self._pack, self._unpack = _ways(hint)

    def pack(self, message: _T) -> object:
        """Return what JSON can carry of a message.

        Raises:
            ProtocolViolation: it is not as annotated; the text names the field.
        """
        return _converted(message, self._pack)

    def unpack(self, packed: object) -> _T:
        """Return the message of what was packed.

        Raises:
            ProtocolViolation: as `pack`.
        """
        message: _T = _converted(packed, self._unpack)
        return message


_Step = Callable[[Any], Any]
_Steps = dict[type, _Step]
"""By the types that are allowed, what makes of a value of each what it is on the other side."""


class _Form(NamedTuple):
    """One of the types that a value may have, here and in JSON, with the steps between the two."""

    kind: type
    pack: _Step
    packed_kind: type
    unpack: _Step


class _Wrong(Exception):
    """Says which field is wrong, as a path that is written from its end, and how."""


def _converted(value: object, steps: _Steps) -> Any:
    try:
        return _step(value, steps)(value)
    except _Wrong as wrong:
        raise ProtocolViolation(f"message{wrong}") from None


def _step(value: object, steps: _Steps) -> _Step:
    step = steps.get(type(value)) or steps.get(object)
    if step is None:
        allowed = " or ".join(sorted(map(_noun, steps)))
        raise _Wrong(f" is {_noun(type(value))}; allowed: {allowed}")
    return step


@functools.cache
def _ways(hint: Any) -> tuple[_Steps, _Steps]:
    """Return how a value is packed and unpacked where `hint` is the annotation."""
    forms = _forms(hint)
    return (
        {form.kind: form.pack for form in forms},
        {form.packed_kind: form.unpack for form in forms},
    )


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


def _forms(hint: Any) -> list[_Form]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [form for part in arguments for form in _forms(part)]
    if origin is Annotated:
        return _limited(*arguments)
    if origin is list:
        return [_form(list, *map(_items, _ways(arguments[0])))]
    if origin is tuple:
        paths = [f"[{number}]" for number in range(len(arguments))]
        pack, unpack = (_fixed(parts, paths) for parts in zip(*map(_ways, arguments), strict=True))
        return [_Form(tuple, pack, list, lambda packed: tuple(unpack(packed)))]
    if origin is dict:
        return [_form(dict, *map(_entries, *map(_ways, arguments)))]
    return _LEAVES.get(hint) or [_class(hint)]


def _form(kind: type, pack: _Step, unpack: _Step | None = None) -> _Form:
    """Return the form of a type that JSON has, too."""
    return _Form(kind, pack, kind, unpack or pack)


def _limited(hint: Any, limit: Range | Length | OneOf) -> list[_Form]:
    """Return what is allowed where `hint` has a limit of its own."""
    match limit:
        case Range():
            return [_form(form.kind, _in_range(limit)) for form in _forms(hint)]
        case OneOf(allowed):
            return [_form(str, _one_of(allowed))]
        case Length(maximum) if hint is str:
            return [_form(str, _text(maximum))]
        case Length(maximum):
            return [
                form._replace(
                    pack=_not_longer(maximum, form.pack), unpack=_not_longer(maximum, form.unpack)
                )
                for form in _forms(hint)
            ]


# Values that stay as they are.


def _as_it_is(value: Any) -> Any:
    return value


def _in_range(limits: Range) -> _Step:
    minimum, maximum = limits

    def check(value: float) -> float:
        if not minimum <= value <= maximum:
            raise _Wrong(f" is out of its range: {minimum} to {maximum}")
        return value

    return check


def _one_of(allowed: tuple[str, ...]) -> _Step:
    def check(value: str) -> str:
        if value not in allowed:
            raise _Wrong(f" is {short(value)}; allowed: {', '.join(allowed)}")
        return value

    return check


def _text(maximum: int) -> _Step:
    def check(value: str) -> str:
        if len(value) > maximum:
            raise _Wrong(f" has {len(value)} characters; allowed: {maximum}")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _Wrong(" is not valid text") from None
        return value

    return check


def _from_digits(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise _Wrong(" is not of hexadecimal digits") from None


_LEAVES: dict[object, list[_Form]] = {
    int: [_form(int, _in_range(_INT64))],
    float: [_form(float, _as_it_is), _form(int, _in_range(_INT64))],
    str: [_form(str, _text(MAX_TEXT))],
    bool: [_form(bool, _as_it_is)],
    bytes: [_Form(bytes, bytes.hex, str, _from_digits)],
    type(None): [_form(type(None), _as_it_is)],
    object: [_form(object, _as_it_is)],
}


# Values that consist of others.


def _not_longer(maximum: int, then: _Step) -> _Step:
    def check(value: Any) -> Any:
        if len(value) > maximum:
            raise _Wrong(f" has {len(value)} entries; allowed: {maximum}")
        return then(value)

    return check


def _items(steps: _Steps) -> _Step:
    def convert(values: list[Any]) -> list[Any]:
        made = list[Any]()
        try:
            for value in values:
                made.append(_step(value, steps)(value))
        except _Wrong as wrong:
            raise _Wrong(f"[{len(made)}]{wrong}") from None
        return made

    return convert


def _entries(key_steps: _Steps, value_steps: _Steps) -> _Step:
    def convert(entries: dict[Any, Any]) -> dict[Any, Any]:
        made = dict[Any, Any]()
        try:
            for key, value in entries.items():
                made[_step(key, key_steps)(key)] = _step(value, value_steps)(value)
        except _Wrong as wrong:
            raise _Wrong(f"[{len(made)}]{wrong}") from None
        return made

    return convert


def _fixed(parts: tuple[_Steps, ...], paths: list[str]) -> _Step:
    """Return how so many values in a row are converted, into a list."""

    def convert(values: Any) -> list[Any]:
        if len(values) != len(parts):
            raise _Wrong(f" has {len(values)} items, not {len(parts)}")
        made = list[Any]()
        try:
            for steps, value in zip(parts, values):  # noqa: B905 - just compared
                made.append((steps.get(type(value)) or _step(value, steps))(value))
        except _Wrong as wrong:
            raise _Wrong(f"{paths[len(made)]}{wrong}") from None
        return made

    return convert


def _class(cls: Any) -> _Form:
    hints = hints_of(cls, include_extras=True)
    names = [field.name for field in fields(cls)]
    ways = [_ways(hints[name]) for name in names]
    paths = [f".{name}" for name in names]
    pack, unpack = (_fixed(tuple(way[n] for way in ways), paths) for n in (0, 1))
    values_of = _values_of(names)
    return _Form(
        cls, lambda value: pack(values_of(value)), list, lambda packed: cls(*unpack(packed))
    )


def _values_of(names: list[str]) -> Callable[[object], tuple[Any, ...]]:
    match names:
        case []:
            return lambda _: ()
        case [name]:
            get = attrgetter(name)
            return lambda value: (get(value),)
        case _:
            return attrgetter(*names)
