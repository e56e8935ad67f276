"""A message's form on the wire: a 4-byte little-endian length and a pickled `Envelope`.

Only the classes of `messages` and the values in them are unpickled, so that a worker that was taken
over (through a video stream, say) cannot make the service run anything; and each value of what a
worker sends is checked, so that what was decoded is what its annotations say. What the service
sends is not: that check would come between the triggers of a group.
"""

import contextlib
import io
import pickle
import zlib
from typing import BinaryIO

from camsvc.ipc import messages
from camsvc.ipc.messages import Envelope
from camsvc.ipc.validation import ProtocolViolation, validate
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


class _Unpickler(pickle.Unpickler):  # noqa: S301 - it makes nothing but messages
    def find_class(self, module: str, name: str) -> type:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a message") from None


def encode(envelope: Envelope) -> bytes:
    """Return the wire form of one message.

    Raises:
        ProtocolViolation: the other side would refuse it.
    """
    if not isinstance(envelope.message, messages.Command | messages.Notice):
        validate(envelope, Envelope)
    body = pickle.dumps(envelope, protocol=5)
    return _checked(len(body)).to_bytes(HEADER_BYTES, "little") + body


def body_length(header: bytes) -> int:
    """Return the length of the body that follows a header.

    Raises:
        ProtocolViolation: it is longer than a message may be.
    """
    return _checked(int.from_bytes(header, "little"))


def _checked(length: int) -> int:
    if length > MAX_MESSAGE_BYTES:
        raise ProtocolViolation(f"a message of {length} bytes; allowed: {MAX_MESSAGE_BYTES}")
    return length


def decode(body: bytes) -> Envelope:
    """Return the message of one body, checked against the annotations of its classes.

    Raises:
        ProtocolViolation: it is not a message, or one of its fields is wrong.
    """
    return validate(_unpickled(body), Envelope)


def _unpickled(body: bytes) -> Envelope:
    try:
        envelope: Envelope = _Unpickler(io.BytesIO(body)).load()
    except Exception as error:
        raise ProtocolViolation(f"not a message: {error}") from error
    return envelope


def receive(stream: BinaryIO) -> Envelope | None:
    """Block until the next message (worker side); None at the end of the stream.

    Raises:
        ProtocolViolation: it is not one.
    """
    with contextlib.suppress(ConnectionError):
        header = stream.read(HEADER_BYTES)
        if len(header) == HEADER_BYTES:
            body = stream.read(length := body_length(header))
            if len(body) == length:
                return _unpickled(body)
    return None
