"""Which module a camera's settings mean, of those that libcamera lists."""

import pytest

from camsvc.drivers.picamera2.select import resolve
from camsvc.model.errors import DeviceAway, DriverFault

ATTACHED = [
    {"Id": "/base/i2c@0/imx708@1a", "Model": "imx708"},
    {"Id": "/base/i2c@1/imx708@1a", "Model": "imx708"},
    {"Id": "/base/i2c@1/imx477@1a", "Model": "imx477"},
]


@pytest.mark.parametrize(
    ("source", "number"), [(0, 0), (2, 2), ("/base/i2c@1/imx708@1a", 1), ("imx477", 2)]
)
def test_a_number_an_id_or_a_model_of_its_own_means_a_camera(
    source: int | str, number: int
) -> None:
    assert resolve(source, ATTACHED) == {**ATTACHED[number], "Num": number}


def test_a_model_that_several_are_of_is_refused_with_what_to_do() -> None:
    with pytest.raises(DriverFault, match="by its number or its id; attached are: 0: imx708, 1:"):
        resolve("imx708", ATTACHED)


@pytest.mark.parametrize(("attached", "have"), [(ATTACHED, "2: imx477"), ([], "none")])
def test_what_is_not_attached_is_awaited(attached: list[dict[str, str]], have: str) -> None:
    with pytest.raises(DeviceAway, match=f"source 3; attached are: .*{have}$"):
        resolve(3, attached)
