"""What is wrong with the settings, said so that it can be fixed without reading the source."""

import difflib
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, PydanticInvalidForJsonSchema, SecretStr, ValidationError

from camsvc.config.cameras import camera_model
from camsvc.model.redaction import HIDDEN, masked

_MAX_SHOWN = 80
"""Characters of a wrong value that are repeated in a message."""


class SettingsError(Exception):
    """The settings cannot be used; the text has one line for each problem."""


def explain(
    error: ValidationError,
    raw: Mapping[str, Any],
    model: type[BaseModel],
    origin: Mapping[str, str],
) -> SettingsError:
    """Return the problems that pydantic found, one line each, as where, what, what is allowed.

    `raw` is what was validated, `model` its model. `origin` says where the shared tables' keys came
    from; its "" is where all others did.
    """
    lines = [
        f"{_origin(problem['loc'], origin)}: {_line(problem, raw, model)}"
        for problem in error.errors(include_url=False)
        # A default that depends on another key, which has a problem of its own.
        if problem["type"] != "default_factory_not_called"
    ]
    return SettingsError("\n".join(dict.fromkeys(lines)))


def _origin(loc: Sequence[int | str], origin: Mapping[str, str]) -> str:
    key = str(loc[1]) if len(loc) > 1 and loc[0] in ("service", "retention") else ""
    return origin.get(key, origin[""])


def _line(  # noqa: PLR0911 - a table of problems, one return each
    problem: Mapping[str, Any], raw: Mapping[str, Any], model: type[BaseModel]
) -> str:
    table, place, key = _locate(problem["loc"], raw, model)
    value = HIDDEN if _is_secret(table, key) else _shown(problem["input"], key)
    match problem["type"]:
        case "extra_forbidden":
            known = list(table.model_fields)
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            return f"{place}unknown key {key!r}; {hint}allowed: {', '.join(known)}"
        case "missing":
            return f"{place}key {key!r} is missing; {_allowed(table, key, problem['msg'])}"
        case "model_type":
            return f"{place}{value} is not a table"
        case "tuple_type" if table is model:
            return f"{value} is not a camera; each is a table of its own, headed [[cameras]]"
        case "camera":  # raised by `camera_model`
            return f"{place}{problem['msg']}"
        case "value_error":
            subject = f"key {key!r}: {value}: " if key else ""
            return f"{place}{subject}{problem['ctx']['error']}"
    if not key:
        return f"{place}{value} is not allowed; {problem['msg']}"
    return f"{place}key {key!r}: {value} is not allowed; {_allowed(table, key, problem['msg'])}"


def _locate(
    loc: Sequence[int | str], raw: Mapping[str, Any], model: type[BaseModel]
) -> tuple[type[BaseModel], str, str]:
    """Return the innermost table that a location is in, where that is, and the key in it."""
    table, place, rest = model, "", list(loc)
    if rest[:1] == ["cameras"] and len(rest) > 1:
        index = int(rest[1])
        place, rest = f"{_camera_name(raw, index)}, ", rest[2:]
        if rest:  # else the camera itself, which may be of no model
            table = camera_model(raw["cameras"][index])
    while rest and (inner := _table_in(table, rest)):
        is_listed = len(rest) > 1 and isinstance(rest[1], int)
        name = f"{rest[0]}[{rest[1]}]" if is_listed else str(rest[0])
        place += f"[{name}], " if table is model else f"{name}, "
        table, rest = inner, rest[2:] if is_listed else rest[1:]
    # Below a key is the key of a plain table; or else the kind of value that was tried.
    keys = rest if _is_plain_table(table, rest) else rest[:1]
    return table, place, ".".join(str(part) for part in keys if part != "[key]")


def _table_in(table: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model of the table that a location leads into; None: it leads to a key."""
    field = table.model_fields.get(str(loc[0]))
    if field is None:
        return None
    listed = get_args(field.annotation) if len(loc) > 1 and isinstance(loc[1], int) else ()
    models = (kind for kind in (field.annotation, *listed) if isinstance(kind, type))
    return next((kind for kind in models if issubclass(kind, BaseModel)), None)


def _is_plain_table(table: type[BaseModel], loc: Sequence[int | str]) -> bool:
    field = table.model_fields.get(str(loc[0])) if loc else None
    return field is not None and get_origin(field.annotation) is dict


def _camera_name(raw: Mapping[str, Any], index: int) -> str:
    camera = raw["cameras"][index]
    name = camera.get("id") if isinstance(camera, Mapping) else None
    return f"camera {name!r}" if isinstance(name, str) else f"camera number {index + 1}"


def _allowed(table: type[BaseModel], key: str, otherwise: str) -> str:
    """Say what a key may be, from the schema of its table; `otherwise` where there is none."""
    name, _, inner = key.partition(".")
    try:
        schema = table.model_json_schema(by_alias=False)["properties"][name]
        if inner:
            schema = schema["additionalProperties"]
    except (PydanticInvalidForJsonSchema, KeyError):  # a plug-in's model may have any type
        return otherwise
    kinds = [_kind(s) for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    text = f"allowed: {' or '.join(dict.fromkeys(kinds))}"
    description = table.model_fields[name].description
    return f"{text}; {description}" if description else text


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(repr, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    nouns = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "text",
        "array": "a list",
    }
    text = nouns.get(schema.get("type", ""), "a table")
    limits = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "pattern": "of the form",
        "minLength": "of a length of at least",
    }
    bounds = [f"{words} {_bound(schema[name])}" for name, words in limits.items() if name in schema]
    return " ".join([text, " and ".join(bounds)]).strip()


def _bound(limit: float | str) -> str:
    if isinstance(limit, str):
        return limit
    return f"{int(limit):,}" if limit == int(limit) else f"{limit:g}"


def _is_secret(table: type[BaseModel], key: str) -> bool:
    """Whether a key takes nothing but a secret."""
    field = table.model_fields.get(key)
    if field is None:
        return False
    kinds = get_args(field.annotation) or (field.annotation,)  # those of a union
    plain = [get_args(kind)[0] if get_args(kind) else kind for kind in kinds]
    return SecretStr in plain and all(kind in (SecretStr, NoneType) for kind in plain)


def _shown(value: object, key: str) -> str:
    text = repr(masked(value, key))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
