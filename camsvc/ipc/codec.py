"""A message's form on the wire: a 4-byte little-endian length, and JSON.

That is a list of the message's id, the name of its class and its fields; an answer has its
command's id, anything else 0. Each direction has messages of its own, and no others.

Invariant: what is read costs no more than its length says. JSON names no class and no size, refers
to nothing, and is not read at all where it has too many values. So a worker that was taken over
(through a video stream, say) cannot make the service run anything, nor hash or reserve what it did
not send.
"""

import contextlib
import functools
import json
import zlib
from dataclasses import is_dataclass
from typing import BinaryIO, Generic, TypeVar, get_args

from camsvc.ipc import messages
from camsvc.ipc.messages import FromService, FromWorker
from camsvc.ipc.packing import Packing, ProtocolViolation
from camsvc.model import values
from camsvc.model.errors import short

HEADER_BYTES = 4

_LIST_VALUES = 5
"""A list or a table costs more than a number. Tens of thousands would have Python's garbage
collector look at all that the service has, which takes longer than reading them."""

PROTOCOL = zlib.crc32(
    repr(
        [
            (name, getattr(cls, "__slots__", ()))
            for module in (messages, values)
            for name, cls in vars(module).items()
            if is_dataclass(cls) and cls.__module__ == module.__name__
        ]
    ).encode()
)
"""What both sides must agree on. They do not when camsvc was upgraded under a running service."""

_MessageT = TypeVar("_MessageT")


_packing_of = functools.cache(Packing)


def _table(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is given twice")
    return table


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(object_pairs_hook=_table).decode


class Codec(Generic[_MessageT]):
    """The messages of one direction, of at most `max_bytes` and `max_values` each.

    Values are counted by the commas and brackets of the JSON, those in its texts included; a
    bracket counts as `_LIST_VALUES`.
    """

    def __init__(self, messages: object, *, max_bytes: int, max_values: int) -> None:
        self._max_bytes = max_bytes
        self._max_values = max_values
        self._classes = {cls.__name__: cls for cls in get_args(messages)}

    def encode(self, message_id: int, message: _MessageT) -> bytes:
        """Return the wire form of one message.

        Raises:
            ProtocolViolation: the other side would refuse it.
        """
        name = type(message).__name__
        try:
            text = _encode([message_id, name, self._packing(name).pack(message)])
        except (TypeError, ValueError, RecursionError) as error:  # in an `object`
            raise ProtocolViolation(f"{name} cannot be sent: {error}") from None
        body = text.encode()
        self._check_length(len(body))
        self._check_count(body)
        return len(body).to_bytes(HEADER_BYTES, "little") + body

    def body_length(self, header: bytes) -> int:
        """Return the length of the body that follows a header.

        Raises:
            ProtocolViolation: it is longer than a message may be.
        """
        return self._check_length(int.from_bytes(header, "little"))

    def decode(self, body: bytes) -> tuple[int, _MessageT]:
        """Return the id and the message of one body, checked against its class's annotations.

        Raises:
            ProtocolViolation: it is not a message of this direction, or a field of it is wrong.
        """
        self._check_count(body)
        try:
            envelope = _decode(body.decode())
        except (ValueError, RecursionError):
            raise ProtocolViolation("not a message: its bytes are not JSON") from None
        match envelope:
            case [int(message_id), str(name), packed] if not isinstance(message_id, bool):
                return message_id, self._packing(name).unpack(packed)
        raise ProtocolViolation("not a message; allowed: a list of an id, a name and the fields")

    def receive(self, stream: BinaryIO) -> tuple[int, _MessageT] | None:
        """Block until the next message (worker side); None at the end of the stream.

        Raises:
            ProtocolViolation: it is not one.
        """
        with contextlib.suppress(ConnectionError):
            header = stream.read(HEADER_BYTES)
            if len(header) == HEADER_BYTES:
                body = stream.read(length := self.body_length(header))
                if len(body) == length:
                    return self.decode(body)
        return None

    def _packing(self, name: str) -> Packing[_MessageT]:
        if name not in self._classes:
            raise ProtocolViolation(f"{short(name)} is not a message that this side may send")
        return _packing_of(self._classes[name])

    def _check_length(self, length: int) -> int:
        if length > self._max_bytes:
            raise ProtocolViolation(f"a message of {length} bytes; allowed: {self._max_bytes}")
        return length

    def _check_count(self, body: bytes) -> None:
        count = body.count(b",") + _LIST_VALUES * (body.count(b"[") + body.count(b"{"))
        if count > self._max_values:
            raise ProtocolViolation(f"a message of {count} values; allowed: {self._max_values}")


FROM_WORKER = Codec[FromWorker](FromWorker, max_bytes=1 << 20, max_values=50_000)
FROM_SERVICE = Codec[FromService](FromService, max_bytes=1 << 22, max_values=1 << 22)
"""Larger: a comment may be long, and its escapes are escaped."""
