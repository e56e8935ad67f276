"""Settings of simulated cameras, as TOML."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Table = Mapping[str, object]

SMALL: Table = {"width_px": 320, "height_px": 240}
"""A picture that costs next to nothing, and can still be read."""

HANGS = ("hang", "hang_gil", "ignore_sigterm_hang")
"""Faults that only a time-out ends."""

_SECONDS = {"slow": 5.0, "disconnect": 3.0}


def camera(
    camera_id: str = "sim0",
    *,
    driver: str = "simulated",
    faults: Sequence[Table] = (),
    **keys: Any,
) -> str:
    """Return a camera's table; a simulated one is small and quick unless `keys` say otherwise.

    A plug-in may read what its test writes, beside the data folder, while it runs.
    """
    usual: Table = {**SMALL, "capture_duration_s": 0.05} if driver == "simulated" else {}
    if ":" in driver:
        paths = [Path(str(value)) for value in keys.get("options", {}).values()]
        folders = [path if path.is_dir() else path.parent for path in paths if path.is_absolute()]
        usual = {"writable": [str(folder) for folder in folders]}
    values = {"id": camera_id, "driver": driver, **usual, **keys}
    lines = ["[[cameras]]", *_lines(values)]
    for fault in faults:
        lines += ["[[cameras.faults]]", *_lines(fault)]
    return "\n".join(lines) + "\n"


def fault(kind: str, on: str = "capture", at: int = 1, times: int = 1) -> Table:
    """Return one scripted fault; where it has a duration, a few seconds."""
    seconds = {"seconds": _SECONDS[kind]} if kind in _SECONDS else {}
    return {"on": on, "kind": kind, "at": at, "times": times, **seconds}


def _lines(values: Table) -> list[str]:
    # JSON's texts, numbers and truths are TOML's; inline tables are not.
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_lines(value)) + " }"
    return json.dumps(value)
