"""What is wrong with the settings, told so that it can be put right without reading the source."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

_MOST_SHOWN = 80
"""Characters of a wrong value that are repeated in a message."""


class SettingsError(Exception):
    """The settings cannot be used; the text has one line for each problem."""


def explain(
    error: ValidationError,
    raw: Mapping[str, Any],
    tables: Mapping[str, type[BaseModel]],
    origin: Mapping[str, str],
) -> SettingsError:
    """Return the problems that pydantic found, one line each, as where, what, what is allowed.

    `raw` is what was validated. `tables` are the models by their name in pydantic's locations.
    `origin` says where the shared tables' keys came from; its "" is where all others did.
    """
    lines = [
        f"{_origin(problem['loc'], origin)}: {_line(problem, raw, tables)}"
        for problem in error.errors(include_url=False)
    ]
    return SettingsError("\n".join(dict.fromkeys(lines)))


def _origin(loc: Sequence[int | str], origin: Mapping[str, str]) -> str:
    key = str(loc[1]) if len(loc) > 1 and loc[0] in ("service", "retention") else ""
    return origin.get(key, origin[""])


def _line(  # noqa: PLR0911 - a table of problems, one return each
    problem: Mapping[str, Any], raw: Mapping[str, Any], tables: Mapping[str, type[BaseModel]]
) -> str:
    table, place, key = _locate(problem["loc"], raw, tables)
    value = _shown(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            known = list(table.model_fields) if table else ["service", "retention", "cameras"]
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            return f"{place}unknown key {key!r}; {hint}allowed: {', '.join(known)}"
        case "missing":
            return f"{place}key {key!r} is missing; {_allowed(table, key)}"
        case "union_tag_not_found" if isinstance(problem["input"], Mapping):
            return f"{place}key 'driver' is missing, or no text; {_drivers(tables)}"
        case "union_tag_invalid":
            driver = problem["input"]["driver"]
            return f"{place}driver {driver!r} is unknown; {_drivers(tables)}"
        case "model_type":
            return f"{place}{value} is no table"
        case "union_tag_not_found" | "tuple_type" if table is None:
            return f"{place}{value} is no camera; each is a table of its own, headed [[cameras]]"
        case "value_error":
            subject = f"key {key!r}: {value}: " if key else ""
            return f"{place}{subject}{problem['ctx']['error']}"
    if not key:
        return f"{place}{value} is not allowed; {problem['msg']}"
    return f"{place}key {key!r}: {value} is not allowed; {_allowed(table, key)}"


def _locate(
    loc: Sequence[int | str], raw: Mapping[str, Any], tables: Mapping[str, type[BaseModel]]
) -> tuple[type[BaseModel] | None, str, str]:
    """Return the innermost table that a location is in, that table's name, and the key in it."""
    place, rest, table = "", list(loc), None
    if rest[:1] == ["service"]:
        place, table, rest = "[service], ", tables["service"], rest[1:]
    elif rest[:1] == ["cameras"] and len(rest) > 1:
        index = int(rest[1])
        place, rest = f"{_camera_name(raw, index)}, ", rest[2:]
        if rest:  # the union's tag
            table, rest = tables[str(rest[0])], rest[1:]
    if rest[:1] == ["faults"] and len(rest) > 1:
        place, table, rest = f"{place}faults[{rest[1]}], ", tables["faults"], rest[2:]
    return table, place, ".".join(str(part) for part in rest if part != "[key]")


def _camera_name(raw: Mapping[str, Any], index: int) -> str:
    camera = raw["cameras"][index]
    name = camera.get("id") if isinstance(camera, Mapping) else None
    return f"camera {name!r}" if isinstance(name, str) else f"camera number {index + 1}"


def _drivers(tables: Mapping[str, type[BaseModel]]) -> str:
    names = [name for name, table in tables.items() if "driver" in table.model_fields]
    builtin = ", ".join(name for name in names if name != "plugin")
    return f'allowed: {builtin}, or the path "package.module:Class" of a driver of your own'


def _allowed(table: type[BaseModel] | None, key: str) -> str:
    """Say what a key may be, from the schema of its table."""
    name, _, inner = key.partition(".")
    if table is None or name not in table.model_fields:
        return ""
    schema = table.model_json_schema()["properties"][name]
    if inner:
        schema = schema["additionalProperties"]
    kinds = [_kind(s) for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    return f"allowed: {' or '.join(kinds)}; {table.model_fields[name].description}"


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
        "object": "a table",
    }
    text = nouns[schema["type"]]
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


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
