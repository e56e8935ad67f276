"""Each field of a message has its annotated type and range, or the message is refused."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camsvc.ipc import messages as m
from camsvc.ipc.codec import FROM_SERVICE, FROM_WORKER, HEADER_BYTES
from camsvc.ipc.messages import ImageInfo
from camsvc.ipc.packing import ProtocolViolation
from camsvc.model.values import Control, DeviceInfo
from tests.support import messages
from tests.support.misdeeds import body

DEVICE = DeviceInfo("a camera", ["JPEG"], sizes=[(640, 480)], expected_capture_s=1)
IMAGE = ImageInfo(7, "image/jpeg", 640, 480, 1, controls={"gain": 1.5, "on": True})
LIVE = m.SharedImage([1], 0, 7, "image/jpeg", 640, 480)
FRAMES = m.SharedFrame(1, 1, [LIVE], 0.1, 0, 0)
GAIN = Control("gain", "float", 1.0, minimum=0, maximum=16.0)
FAILED = m.Failed("InvalidRequest", "no")

ANY_ID = st.integers(0, 1 << 40)


@pytest.mark.parametrize("kind", get_args(m.FromWorker) + get_args(m.FromService))
def test_whatever_is_as_annotated_arrives_as_it_was(kind: type) -> None:
    codec: Any = FROM_WORKER if kind in get_args(m.FromWorker) else FROM_SERVICE

    @settings(max_examples=20, deadline=None)
    @given(ANY_ID, messages.of(kind))
    def arrives(message_id: int, message: Any) -> None:
        arrived = codec.decode(codec.encode(message_id, message)[HEADER_BYTES:])
        assert arrived == (message_id, message)
        assert repr(arrived) == repr((message_id, message)), "1 is equal to 1.0 and True"

    arrives()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (m.Opened(replace(DEVICE, model=7)), "device.model is a whole number; allowed: text"),  # type: ignore[arg-type]
        (
            m.Opened(replace(DEVICE, live_view=1)),  # type: ignore[arg-type]
            "live_view is a whole number; allowed: true or false",
        ),
        (m.Opened(replace(DEVICE, sizes=[(1, 2, 3)])), "sizes[0] has 3 items, not 2"),  # type: ignore[list-item]
        (m.Opened(replace(DEVICE, sizes=[(1, -2)])), "sizes[0][1] is out of its range"),
        (
            m.Opened(replace(DEVICE, details={"a": 1})),  # type: ignore[dict-item]
            "details[0] is a whole number; allowed: text",
        ),
        (m.Opened(replace(DEVICE, expected_capture_s=float("nan"))), "expected_capture_s is out"),
        (m.Opened(replace(DEVICE, expected_capture_s=float("inf"))), "expected_capture_s is out"),
        (m.Opened(replace(DEVICE, serial="\udcff")), "serial is not valid text"),
        (m.Captured(replace(IMAGE, size_bytes=1 << 62), 0, 0), "image.size_bytes is out of"),
        (m.Captured(replace(IMAGE, size_bytes=0), 0, 0), "image.size_bytes is out of its range: 1"),
        (
            m.Captured(IMAGE, 0, 0, [replace(IMAGE, size_bytes=-1)]),
            "others[0].size_bytes is out of",
        ),
        (
            m.Captured(replace(IMAGE, width_px=True), 0, 0),
            "width_px is true or false; allowed: a whole number",
        ),
        (m.Captured(replace(IMAGE, controls={"x": 1 << 64}), 0, 0), "controls[0] is out of"),
        (
            m.Controls([replace(GAIN, value=[])]),  # type: ignore[arg-type]
            "[0].value is a list; allowed: a number or a whole",
        ),
        (m.Opened(replace(DEVICE, formats=["HEIF"])), "formats[0] is 'HEIF'; allowed: JPEG, PNG"),
        (m.Opened(replace(DEVICE, formats=["JPEG"] * 4)), "formats has 4 entries; allowed: 3"),
        (m.Opened(replace(DEVICE, model="x" * 1001)), "model has 1001 characters; allowed: 1000"),
        (m.Failed("DriverError", "x" * 4097), "message has 4097 characters; allowed: 4096"),
        (
            replace(FAILED, violations={str(n): "" for n in range(65)}),
            "violations has 65 entries; allowed: 64",
        ),
        (m.Controls([replace(GAIN, type="enum")]), "[0].type is 'enum'; allowed: bool, int, float"),
        (m.Controls([replace(GAIN, access="")]), "[0].access is ''; allowed: read, write, read_"),
        (m.Progress(True), "percent is true or false; allowed: a whole number"),
        (replace(FRAMES, images=[replace(LIVE, slot=16)]), "images[0].slot is out of its range: 0"),
        (replace(FRAMES, images=[LIVE] * 17), "images has 17 entries; allowed: 16"),
        (replace(FRAMES, skipped=1 << 62), "skipped is out of its range"),
        (DEVICE, "'DeviceInfo' is not a message that this side may send"),
        (m.Close(), "'Close' is not a message that this side may send"),
        (None, "'NoneType' is not a message that this side may send"),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) else "",
)
def test_what_is_not_is_refused_on_both_sides_with_the_fields_name(message: Any, text: str) -> None:
    with pytest.raises(ProtocolViolation) as sent:
        FROM_WORKER.encode(1, message)
    with pytest.raises(ProtocolViolation) as received:
        FROM_WORKER.decode(body(1, message))
    assert text in str(sent.value)
    assert text in str(received.value)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (m.Controls([object()]), "controls[0] is something of another kind; allowed: control"),  # type: ignore[list-item]
        (m.Controls([DEVICE]), "controls[0] is device info; allowed: control"),  # type: ignore[list-item]
        (replace(FRAMES, images=(LIVE,)), "images is a fixed list; allowed: a list"),  # type: ignore[arg-type]
    ],
)
def test_a_driver_learns_of_a_wrong_class_before_it_is_sent(message: Any, text: str) -> None:
    with pytest.raises(ProtocolViolation) as sent:
        FROM_WORKER.encode(1, message)
    assert text in str(sent.value)


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (b'[0,"Progress",[]]', "message has 0 items, not 1"),
        (b'[0,"Progress",[1,2]]', "message has 2 items, not 1"),
        (b'[0,"Progress",{"percent":1}]', "message is a table; allowed: a list"),
        (b'[0,"Progress",1]', "message is a whole number; allowed: a list"),
        (b'[0,"Changed",[["m",[]]]]', "message.device has 2 items, not 13"),
        (b'[true,"Done",[]]', "not a message"),
        (b'[1.0,"Done",[]]', "not a message"),
        (b'[1,"Done"]', "not a message"),
        (b'[1,"Done",[],[]]', "not a message"),
        (b'{"id":1}', "not a message"),
        (b'[1,"Done",[]]]', "not a message: its bytes are not JSON"),
        (b'\xef\xbb\xbf[1,"Done",[]]', "not a message: its bytes are not JSON"),
        (b"", "not a message: its bytes are not JSON"),
        (b'[1,"Failed",["a","b",{"c":"d","c":"e"}]]', "not a message: its bytes are not JSON"),
    ],
)
def test_what_is_no_message_is_refused(packed: bytes, text: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        FROM_WORKER.decode(packed)
    assert text in str(caught.value)


def test_a_settings_table_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="Diagnose cannot be sent"):
        FROM_SERVICE.encode(1, m.Diagnose({"anything": object()}))


@pytest.mark.parametrize(
    ("command", "answer"), [(m.Open, m.Opened), (m.SetControls, m.Controls), (m.Ping, m.Done)]
)
def test_a_command_names_its_answer(command: type[m.Command[Any]], answer: type) -> None:
    assert command.answer_type() is answer
