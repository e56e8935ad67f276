"""Each field of a message has its annotated type and range, or the message is refused."""

from dataclasses import replace
from typing import Any

import pytest

from camsvc.ipc import codec
from camsvc.ipc import messages as m
from camsvc.ipc.messages import ImageInfo
from camsvc.ipc.validation import MAX_VALUES, ProtocolViolation, validate
from camsvc.model.values import Control, DeviceInfo, Finding, LiveVariant, Shot

DEVICE = DeviceInfo("a camera", ["JPEG"], sizes=[(640, 480)], expected_capture_s=1)
IMAGE = ImageInfo(7, "image/jpeg", 640, 480, 1, controls={"gain": 1.5, "on": True})
LIVE = m.SharedImage([1], 0, 7, "image/jpeg", 640, 480)
FRAMES = m.SharedFrame(1, 1, [LIVE], 0.1, 0, 0)
GAIN = Control("gain", "float", 1.0, minimum=0, maximum=16.0)


@pytest.mark.parametrize(
    "message",
    [
        m.Opened(DEVICE),
        m.Captured(IMAGE, 0.1, 0.1, [IMAGE]),
        m.Controls([GAIN]),
        m.Diagnosed([Finding(ok=True, text="größer")]),
        FRAMES,
        m.Open({"anything": {"nested": (1, None)}}, {"gain": 1}, b""),
        m.Capture(Shot(quality_percent=90), "comment"),
        m.SetLive([LiveVariant(1, max_fps=0.5)]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_as_annotated_arrives(message: Any) -> None:
    body = codec.encode(m.Envelope(1, message))[codec.HEADER_BYTES :]
    assert codec.decode(body) == m.Envelope(1, message)


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
        (m.Controls([replace(GAIN, type="enum")]), "[0].type is 'enum'; allowed: bool, int, float"),
        (m.Controls([replace(GAIN, access="")]), "[0].access is ''; allowed: read, write, read_"),
        (m.Controls([object()]), "controls[0] is something of another kind; allowed: control"),  # type: ignore[list-item]
        (m.Progress(True), "percent is true or false; allowed: a whole number"),
        (replace(FRAMES, images=[replace(LIVE, slot=16)]), "images[0].slot is out of its range: 0"),
        (replace(FRAMES, images=(LIVE,)), "images is a fixed list; allowed: a list"),  # type: ignore[arg-type]
        (DEVICE, "message is device info; allowed: "),
        (None, "message is nothing; allowed: "),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) else "",
)
def test_what_is_not_is_refused_with_the_fields_name(message: Any, text: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        validate(m.Envelope(1, message), m.Envelope)
    assert text in str(caught.value)
    with pytest.raises(ProtocolViolation):
        codec.encode(m.Envelope(1, message))


def test_few_bytes_cannot_take_long_to_check() -> None:
    """A list may be referred to many times."""
    image = replace(LIVE, variants=[1] * 10_000)
    with pytest.raises(ProtocolViolation, match=f"allowed: {MAX_VALUES} in a message"):
        validate(m.Envelope(0, replace(FRAMES, images=[image] * 10_000)), m.Envelope)


def test_a_message_without_its_fields_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match=r"message\.percent is missing"):
        validate(m.Envelope(0, object.__new__(m.Progress)), m.Envelope)


@pytest.mark.parametrize(
    ("command", "answer"), [(m.Open, m.Opened), (m.SetControls, m.Controls), (m.Ping, m.Done)]
)
def test_a_command_names_its_answer(command: type[m.Command[Any]], answer: type) -> None:
    assert command.answer_type() is answer
