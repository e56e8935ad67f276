"""No bytes that a worker sends cost the service more than little time and memory.

At full length: ENDURANCE=full.
"""

import contextlib
import gc
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camsvc.ipc import messages as m
from camsvc.ipc.codec import FROM_WORKER, HEADER_BYTES
from camsvc.ipc.packing import ProtocolViolation
from camsvc.model.values import Control
from tests.support import endurance, messages
from tests.support.attacks import ATTACKS, MAX_BYTES
from tests.support.misdeeds import body
from tests.support.timing import timing

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

DECODED_S = 0.05
DECODED_BYTES = 50_000_000
FUZZED = settings(
    max_examples=endurance.times(20_000) // (1 if endurance.FULL else 20),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def collected() -> Iterator[None]:
    """Have the garbage collector leave alone what is there already, as the service does."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def decoded(data: bytes) -> Any:
    """Return the message of a worker's bytes, or None where they are refused."""
    with contextlib.suppress(ProtocolViolation):
        return FROM_WORKER.decode(data)
    return None


@pytest.mark.timed
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("name", ATTACKS)
def test_a_megabyte_costs_little(name: str) -> None:
    attack = ATTACKS[name]
    assert len(attack) <= MAX_BYTES
    decoded(attack)  # what is made once, at the first use
    with timing() as took:
        arrived = decoded(attack)
    took.assert_within(DECODED_S)
    assert (arrived is not None) == (name == "the largest message")
    del arrived
    tracemalloc.start()
    decoded(attack)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes <= DECODED_BYTES


PIECES = r"""
[ ] { } , : " "a": "b", 1 1.5e-300 - 0. null true NaN [[[[ ]]]] [], {}, {"": \u00e9 \ud83d \ é 😀
[0,"Controls",[[ ["c","bool",true ]], ]]]
"""
TEXTS = st.lists(st.sampled_from([*PIECES.split(), " ", "9" * 4000]), max_size=6).map("".join)


@pytest.mark.timed
@pytest.mark.usefixtures("collected")
@FUZZED
@given(TEXTS, TEXTS.filter(bool), TEXTS)
def test_a_megabyte_of_whatever_repeats_costs_little(begin: str, piece: str, end: str) -> None:
    room = MAX_BYTES - len(begin.encode()) - len(end.encode())
    data = (begin + piece * (room // len(piece.encode())) + end).encode()
    with timing() as took:
        decoded(data)
    took.assert_within(DECODED_S)


def test_the_bounds_are_of_what_is_sent_too() -> None:
    control = Control("c", "string", None, allowed=["x"] * 50_000)
    with pytest.raises(ProtocolViolation, match="values; allowed: 50000"):
        FROM_WORKER.encode(0, m.Controls([control]))
    control = Control("c", "string", None, allowed=["x" * 1000] * 1050)
    with pytest.raises(ProtocolViolation, match="bytes; allowed: 1048576"):
        FROM_WORKER.encode(0, m.Controls([control]))


# Fuzzed: whatever is taken is what somebody could have sent.


def check(data: bytes) -> None:
    arrived = decoded(data)
    if arrived is not None:
        again = FROM_WORKER.encode(*arrived)[HEADER_BYTES:]
        assert repr(decoded(again)) == repr(arrived)


@FUZZED
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    check(data)


def texts() -> st.SearchStrategy[str]:
    names = [cls.__name__ for cls in (*m.FromWorker.__args__, *m.FromService.__args__)]
    return st.sampled_from([*names, "", "\udcff", "NaN", "image/jpeg"]) | st.text(max_size=5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(texts(), values, max_size=4),
    max_leaves=12,
)


@FUZZED
@given(messages.of(m.FromWorker), JSON, st.data())
def test_a_message_with_a_part_replaced(message: Any, part: Any, data: st.DataObject) -> None:
    whole = [json.loads(body(data.draw(st.integers(0, 3)), message))]
    parent = data.draw(st.sampled_from([node for node in nodes(whole) if node]))
    places = range(len(parent)) if isinstance(parent, list) else parent
    parent[data.draw(st.sampled_from(list(places)))] = part
    check(json.dumps(whole[0]).encode())


@FUZZED
@given(messages.of(m.FromWorker), st.data())
def test_a_message_with_bytes_replaced(message: Any, data: st.DataObject) -> None:
    packed = bytearray(body(1, message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(packed) - 1))
        packed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    check(bytes(packed))


def nodes(value: Any) -> Iterator[Any]:
    """Yield a list or a table, and those in it."""
    if isinstance(value, list | dict):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from nodes(inner)
