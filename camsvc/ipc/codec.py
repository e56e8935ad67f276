"""A message's form on the wire: a 4-byte little-endian length and a pickled `Envelope`.

Only the classes of `messages` and the values in them are unpickled, so a worker gone mad (or taken
over through a video stream) can hand the service wrong values, but cannot make it run anything.
"""

import io
import pickle
import socket
import zlib

from camsvc.ipc import messages
from camsvc.ipc.messages import Envelope
from camsvc.model import values

MAX_MESSAGE_BYTES = 1 << 20
HEADER_BYTES = 4

_ALLOWED = {
    (cls.__module__, cls.__qualname__): cls
    for cls in [*vars(messages).values(), *vars(values).values()]
    if isinstance(cls, type) and cls.__module__ in (messages.__name__, values.__name__)
}

PROTOCOL = zlib.crc32(
    repr([(name, getattr(cls, "__slots__", ())) for (_, name), cls in _ALLOWED.items()]).encode()
)
"""What both sides must agree on. They do not when camsvc was upgraded under a running service."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a message") from None


def encode(envelope: Envelope) -> bytes:
    """Return the wire form of one message."""
    body = pickle.dumps(envelope, protocol=5)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(body)} bytes; {MAX_MESSAGE_BYTES} are allowed")
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def body_length(header: bytes) -> int:
    """Return the length of the body that follows a header, checked against the limit."""
    length = int.from_bytes(header, "little")
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes; {MAX_MESSAGE_BYTES} are allowed")
    return length


def decode(body: bytes) -> Envelope:
    """Return the message of one body.

    Raises:
        ValueError: it is not a message.
    """
    try:
        envelope = _Unpickler(io.BytesIO(body)).load()
    except Exception as error:
        raise ValueError(f"not a message: {error}") from error
    if not isinstance(envelope, Envelope):
        raise ValueError(f"not a message: {type(envelope).__name__}")
    return envelope


def receive(sock: socket.socket) -> Envelope | None:
    """Block until the next message (worker side); None at the end of the stream."""
    header = _receive_exactly(sock, HEADER_BYTES)
    if header is None:
        return None
    body = _receive_exactly(sock, body_length(header))
    return None if body is None else decode(body)


def _receive_exactly(sock: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        try:
            part = sock.recv(count - len(parts))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)
