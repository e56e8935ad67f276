"""Requests that no honest client would send: random bytes, damaged messages, odd values.

`python -m tests.support.fuzz ADDRESS REQUESTS SEED` sends them over all RPCs, and prints as JSON
how many were answered by which code.
"""

import asyncio
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from camapi.v1 import camera_service_pb2 as api
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_SERVICE = api.DESCRIPTOR.services_by_name["CameraService"]
_CALLERS, _CALLS_EACH = 4, 12
_TIMEOUT_S = 2.0
_SLOW = ("Capture", "CaptureGroup", "DiscoverCameras", "GetFrame", "LiveView", "ResetCamera")
"""Each takes a camera's time, or starts processes: one in so many is enough."""
_SLOW_PART = 0.02

_TEXTS = [
    "",
    "sim0",
    "sim1",
    "0",
    "ü" * 40,
    "a" * 5000,
    "\0",
    "../../etc",
    "key=value",
    "\U0010ffff",
]
_NUMBERS = [0, 1, -1, 2, 100, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**64 - 1]
_SMALL = [number for number in _NUMBERS if -(2**31) <= number < 2**31]
_VALUES: Mapping[int, Sequence[Any]] = {
    FieldDescriptor.CPPTYPE_BOOL: [False, True],
    FieldDescriptor.CPPTYPE_DOUBLE: [0.0, -0.0, 1.0, 1e308, 5e-324, math.inf, -math.inf, math.nan],
    FieldDescriptor.CPPTYPE_FLOAT: [0.0, 1.0, math.inf, math.nan],
    FieldDescriptor.CPPTYPE_ENUM: _SMALL,
    FieldDescriptor.CPPTYPE_INT32: _SMALL,
    FieldDescriptor.CPPTYPE_INT64: [n for n in _NUMBERS if -(2**63) <= n < 2**63],
    FieldDescriptor.CPPTYPE_UINT32: [n for n in _NUMBERS if 0 <= n < 2**32],
    FieldDescriptor.CPPTYPE_UINT64: [n for n in _NUMBERS if n >= 0],
}
_DEPTH = 4


class Fuzzer:
    """Makes requests; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def method(self) -> MethodDescriptor:
        """Return an RPC, more often a quick one."""
        rng = self._rng
        while True:
            method: MethodDescriptor = rng.choice(_SERVICE.methods)
            if method.name not in _SLOW or rng.random() < _SLOW_PART:
                return method

    def request(self, method: MethodDescriptor) -> bytes:
        """Return the bytes of a request to an RPC, which may be no message of its at all."""
        rng = self._rng
        if rng.random() < 0.1:
            return rng.randbytes(rng.choice([0, 1, 2, 10, 100, 10_000]))
        data = self._message(GetMessageClass(method.input_type)(), _DEPTH).SerializeToString()
        return self._damaged(data) if rng.random() < 0.3 else data

    def _damaged(self, data: bytes) -> bytes:
        rng, damaged = self._rng, bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(damaged))
            match rng.randrange(3):
                case 0:
                    damaged[at : at + 1] = rng.randbytes(1)
                case 1:
                    del damaged[at : at + rng.randint(1, 8)]
                case _:
                    damaged[at:at] = rng.randbytes(rng.randint(1, 8))
        return bytes(damaged)

    def _message(self, message: Message, depth: int) -> Message:
        for field in message.DESCRIPTOR.fields:
            if self._rng.random() < 0.5:
                continue
            if _is_map(field):
                for _ in range(self._rng.choice([1, 3, 70])):
                    key = self._rng.choice(["a", "order", *_TEXTS])
                    getattr(message, field.name)[key] = self._rng.choice(_TEXTS)
            elif field.is_repeated:
                for _ in range(self._rng.choice([1, 2, 70])):
                    self._append(getattr(message, field.name), field, depth)
            elif field.message_type is not None:
                if depth:
                    self._message(getattr(message, field.name), depth - 1)
                    getattr(message, field.name).SetInParent()
            else:
                self._set(message, field)
        return message

    def _append(self, values: Any, field: Any, depth: int) -> None:
        if field.message_type is None:
            values.append(self._value(field))
        elif depth:
            self._message(values.add(), depth - 1)

    def _set(self, message: Message, field: Any) -> None:
        value = self._value(field)
        if field.name == "camera" and self._rng.random() < 0.7:
            value = "sim0"
        setattr(message, field.name, value)

    def _value(self, field: Any) -> Any:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._rng.randbytes(10)
        return self._rng.choice(_VALUES.get(field.cpp_type, _TEXTS))


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


async def send(address: str, requests: int, seed: int) -> Counter[str]:
    """Send requests over several connections, many at a time; return the codes of the answers."""
    codes, left = Counter[str](), iter(range(requests))
    fuzzer = Fuzzer(seed)

    async def one(channel: grpc.aio.Channel) -> None:
        method = fuzzer.method()
        path = f"/{_SERVICE.full_name}/{method.name}"
        data = fuzzer.request(method)
        try:
            if method.server_streaming:
                begin_stream: Any = channel.unary_stream(path)
                stream = begin_stream(data, timeout=_TIMEOUT_S)
                await stream.read()
                stream.cancel()
            else:
                call: Any = channel.unary_unary(path)
                await call(data, timeout=_TIMEOUT_S)
            codes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            codes[error.code().name] += 1
            if error.code().name in ("INTERNAL", "UNKNOWN"):
                print(method.name, data[:200], error.details(), file=sys.stderr)

    async def caller() -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:

            async def calls() -> None:
                for _ in left:
                    await one(channel)

            await asyncio.gather(*(calls() for _ in range(_CALLS_EACH)))

    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return codes


if __name__ == "__main__":
    print(json.dumps(asyncio.run(send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
