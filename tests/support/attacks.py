"""What a worker that was taken over could send to cost the service time or memory."""

from camsvc.ipc import messages as m
from camsvc.ipc.codec import FROM_WORKER, HEADER_BYTES
from camsvc.model.values import Control
from tests.support.misdeeds import body

MAX_BYTES = 1 << 20


def _filled(begin: bytes, piece: bytes, end: bytes) -> bytes:
    return begin + piece * ((MAX_BYTES - len(begin) - len(end)) // len(piece)) + end


def _largest() -> bytes:
    """Return an honest message of nearly all values that there may be."""
    control = Control("c", "string", None, allowed=["x" * 20] * 10, description="x" * 150)
    message = FROM_WORKER.encode(0, m.Controls([control] * 1650))
    return message[HEADER_BYTES:]


ATTACKS = {
    "nested lists": _filled(b"", b"[", b""),
    "nested tables": _filled(b"", b'{"":', b""),
    "nested often": _filled(b"[", b"[" * 400 + b"]" * 400 + b",", b"1]"),
    "many lists": _filled(b"[", b"[],", b"1]"),
    "many tables": _filled(b"[", b'{"":0},', b"1]"),
    "many lists, just allowed": b"[" + b"[]," * 8_300 + b"1]",
    "many tables, just allowed": b"[" + b'{"":0},' * 8_300 + b"1]",
    "many keys": b"{" + b",".join(b'"%x":0' % n for n in range(100_000)) + b"}",
    "many keys, just allowed": b"{" + b",".join(b'"%x":0' % n for n in range(49_990)) + b"}",
    "a key again and again": _filled(b"{", b'"a":0,', b'"a":0}'),
    "a long key": _filled(b'{"', b"k", b'":0}'),
    "many numbers": _filled(b"[", b"1,", b"1]"),
    "a long number": _filled(b"", b"9", b""),
    "long numbers": _filled(b"[", b"9" * 4300 + b",", b"1]"),
    "a long fraction": _filled(b"0.", b"123456789", b""),
    "long fractions": _filled(b"[", b"1." + b"9" * 800 + b"e-300,", b"1]"),
    "a number beyond all": b"[1e" + b"9" * 1000 + b"]",
    "escapes": _filled(b'["', b"\\u00e9", b'"]'),
    "halves of characters": _filled(b'[0,"Lost",[["DriverError","', b"\\ud83d", b'",{}]]]'),
    "a wide character": _filled(b'["', b"x", "\U0001f600".encode() + b'"]'),
    "spaces": _filled(b"", b" ", b"1"),
    "no text": _filled(b"", b"\xff", b""),
    "another encoding": "[1]".encode("utf-32"),
    "a long name": _filled(b'[0,"', b"N", b'",[]]'),
    "many violations": body(
        1, m.Failed("InvalidRequest", "", {f"{n}": "x" * 10 for n in range(20_000)})
    ),
    "much text": body(1, m.Failed("DriverError", "x" * (MAX_BYTES - 100))),
    "the largest message": _largest(),
}
