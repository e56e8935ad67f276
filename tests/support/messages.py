"""Messages of any content, made from the annotations of their classes."""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from camsvc.model.limits import Length, OneOf, Range

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_TEXT, values, max_size=3),
    max_leaves=6,
)
_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(1 << 63), (1 << 63) - 1),
    float: st.floats(allow_nan=False) | st.integers(-(1 << 63), (1 << 63) - 1),
    str: _TEXT,
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    type(None): st.none(),
    object: _JSON,
}
_SEVERAL: dict[Any, Callable[..., st.SearchStrategy[Any]]] = {
    list: lambda values: st.lists(values, max_size=3),
    tuple: st.tuples,
    dict: lambda keys, values: st.dictionaries(keys, values, max_size=3),
}


def of(hint: Any) -> st.SearchStrategy[Any]:
    """Return values that an annotation allows."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(of, arguments))
    if origin is Annotated:
        return _limited(*arguments)
    if origin in _SEVERAL:
        return _SEVERAL[origin](*map(of, arguments))
    if is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        return st.builds(
            cast(type, hint), **{field.name: of(hints[field.name]) for field in fields(hint)}
        )
    return _LEAVES[hint]


def _limited(hint: Any, limit: Range | Length | OneOf) -> st.SearchStrategy[Any]:
    match limit:
        case Range(minimum, maximum) if hint is float:
            return st.floats(minimum, maximum) | st.integers(minimum, maximum)
        case Range(minimum, maximum):
            return st.integers(minimum, maximum)
        case OneOf(allowed):
            return st.sampled_from(allowed)
        case Length(maximum):
            return of(hint).filter(lambda value: len(value) <= maximum)
