"""The fingerprint of a request: what two requests under one request id must have in common."""

import hashlib
import json
from collections.abc import Mapping

from camsvc.model.values import Shot

SHOT_DEFAULTS: dict[str, object] = {
    "format": "JPEG",
    "quality_percent": None,
    "max_width_px": None,
    "max_height_px": None,
    "controls": {},
}
"""What counts of a shot in its fingerprint, and what is left out there.

Fingerprints are stored: a field that `Shot` gains is added here with the default that it has then,
and neither a name nor a default is changed, whatever becomes of it in `Shot`.
"""

_UNVERSIONED = ("format", "quality_percent", "max_width_px", "max_height_px", "controls")
"""The fields of the fingerprints that were stored before they had a version."""


def fingerprint(shot: Shot, labels: Mapping[str, str]) -> str:
    """Return what two requests under one request id must have in common; see `is_same_request`."""
    what = _not_default(shot)
    if labels:
        what["labels"] = dict(labels)
    return f"1:{_digest(what)}"


def is_same_request(known: str, shot: Shot, labels: Mapping[str, str]) -> bool:
    """Whether a request is the one of a stored fingerprint, of this version or an older one."""
    if ":" in known:
        return known == fingerprint(shot, labels)
    what = {name: getattr(shot, name) for name in _UNVERSIONED} | _not_default(shot)
    return known == _digest({**what, "labels": dict(labels)})


def _not_default(shot: Shot) -> dict[str, object]:
    values = {name: getattr(shot, name) for name in SHOT_DEFAULTS}
    return {name: value for name, value in values.items() if value != SHOT_DEFAULTS[name]}


def _digest(what: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
