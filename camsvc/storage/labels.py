"""How labels are kept: their text once, and tags to find them by.

A tag takes the same room whatever a label says, and stands for one label, for any label with a key,
or for a label of one camera's captures. It is long enough that nobody finds two with the same.
"""

import hashlib
import re
from collections.abc import Mapping

_TAG_BYTES = 16

_END, _ESCAPE = "\0", "\1"
_ESCAPED = {"\1": "\1\1", "\0": "\1\2"}
_MEANT = {escaped: text for text, escaped in _ESCAPED.items()}


def pack(labels: Mapping[str, str]) -> bytes:
    """Return labels as they are kept; none as no bytes.

    They take what their text takes, and at most twice as much. JSON would take up to six times.
    """
    return _joined(*(text for label in labels.items() for text in label)).encode()


def unpack(packed: bytes) -> dict[str, str]:
    """Return the labels that `pack` has packed."""
    if not packed:
        return {}
    texts = packed.decode().split(_END)
    if _ESCAPE.encode() in packed:
        texts = [re.sub("\1[\1\2]", lambda found: _MEANT[found[0]], text) for text in texts]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def tag(key: str, value: str | None = None, camera: str = "") -> bytes:
    """Return the tag of a label: of any with its key without a value, of any camera's with ""."""
    parts = [part for part in (key, value, camera or None) if part is not None]
    return hashlib.blake2b(_joined(*parts).encode(), digest_size=_TAG_BYTES).digest()


def tags(labels: Mapping[str, str], camera: str) -> list[bytes]:
    """Return all tags of the labels of a camera's capture."""
    return [
        each
        for key, value in labels.items()
        for each in (tag(key), tag(key, value), tag(key, value, camera))
    ]


def _joined(*texts: str) -> str:
    """Return texts in one, so that nothing in them can be mistaken for their ends."""
    return _END.join(
        text if text.isprintable() else re.sub("[\0\1]", lambda found: _ESCAPED[found[0]], text)
        for text in texts
    )
