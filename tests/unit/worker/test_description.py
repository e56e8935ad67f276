"""What a device says of itself, in any encoding and of any length."""

import pytest

from camsvc.model.errors import DriverError
from camsvc.model.values import Control, DeviceInfo
from camsvc.worker import description


def test_what_a_driver_says_of_its_device_can_always_be_sent() -> None:
    odd = DeviceInfo(
        "caf\udce9",
        ["JPEG"] * 9,
        details={f"key {n}": "x" * 5000 for n in range(200)},
        warnings=["w\udcff"] * 99,
        sizes=[(1, 1)] * 999,
    )
    shown = description.described(odd)
    assert shown.model == "caf?"
    assert [len(x) for x in (shown.formats, shown.details, shown.warnings, shown.sizes)] == [
        3,
        64,
        32,
        256,
    ]
    assert {len(value) for value in shown.details.values()} == {1000}
    with pytest.raises(DriverError, match="describes its device by nothing"):
        description.described(None)


def test_choices_of_a_control_stay_as_they_are() -> None:
    """A client sets them by what it was shown."""
    control = Control("mode", "string", "a  b", allowed=["a  b", "tab\t", "caf\u00e9\u00a0"])
    assert description.legible([control]) == [control]
