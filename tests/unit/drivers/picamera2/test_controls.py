"""The mapping between the contract's controls and libcamera's, which needs no library."""

from typing import Any

import pytest

from camsvc.drivers.controls import checked
from camsvc.drivers.picamera2.controls import Known, PiControls
from camsvc.model.errors import InvalidRequest

IMX708 = {
    "AfMode": Known(0, 2, 0),
    "AfTrigger": Known(0, 1, 0),
    "LensPosition": Known(0.0, 32.0, 1.0),
    "ExposureTime": Known(1, 66_666, 20_000),
    "AnalogueGain": Known(1.0, 16.0, 1.0),
    "AwbEnable": Known(False, True, None),
    "AwbMode": Known(0, 7, 0),
    "Brightness": Known(-1.0, 1.0, 0.0),
    "ColourGains": Known(0.0, 32.0, None),
    "FrameDurationLimits": Known(33_333, 120_000, None),
}
FIXED_FOCUS = {name: IMX708[name] for name in ("ExposureTime", "AnalogueGain")}
AUTOMATIC = {"ExposureTime": 0, "AnalogueGain": 0.0}


def pi(**values: Any) -> PiControls:
    controls = PiControls(IMX708)
    controls.change(values)
    return controls


def test_only_what_the_camera_has_is_offered() -> None:
    assert [control.name for control in PiControls(IMX708).list()] == [
        "focus_mode",
        "white_balance",
        "focus_distance_diopters",
        "exposure_duration_us",
        "gain",
        "brightness",
    ]
    assert [c.name for c in PiControls(FIXED_FOCUS).list()] == ["exposure_duration_us", "gain"]
    assert PiControls({}).list() == []


def test_each_control_may_be_set_to_what_it_is() -> None:
    controls = PiControls(IMX708).list()
    assert checked(controls, {c.name: c.value for c in controls if c.value is not None})


def test_a_default_that_is_out_of_range_or_missing_is_brought_into_it() -> None:
    odd = {"Brightness": Known(0.5, 1.0, None), "LensPosition": Known(0.0, 10.0, 12.0)}
    assert PiControls(odd).set == {"focus_distance_diopters": 10.0, "brightness": 0.5}


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, {"AfMode": 0, "LensPosition": 1.0, **AUTOMATIC}),
        ({"focus_distance_diopters": 8.2}, {"AfMode": 0, "LensPosition": 8.2}),
        ({"focus_mode": "auto"}, {"AfMode": 1}),
        ({"focus_mode": "continuous"}, {"AfMode": 2}),
        ({"exposure_duration_us": 5000, "gain": 2.0}, {"ExposureTime": 5000, "AnalogueGain": 2.0}),
        ({"white_balance": "daylight"}, {"AwbEnable": True, "AwbMode": 5}),
        ({"brightness": -0.5}, {"Brightness": -0.5}),
    ],
)
def test_what_libcamera_is_told(values: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert wanted.items() <= pi(**values).library_values().items()


def test_a_lens_that_focuses_itself_is_given_no_distance() -> None:
    """It would not heed it, and a camera's log would fill."""
    assert "LensPosition" not in pi(focus_mode="continuous").library_values()
    why = r"2\.0 has no effect .* set focus_mode to 'manual' too"
    with pytest.raises(InvalidRequest, match=why):
        pi(focus_mode="continuous").change({"focus_distance_diopters": 2.0})


def test_a_shots_mode_and_distance_can_be_put_back_together() -> None:
    controls = pi(focus_mode="continuous", focus_distance_diopters=3.0)
    controls.change({"focus_mode": "manual", "focus_distance_diopters": 8.0})
    controls.change({"focus_mode": "continuous", "focus_distance_diopters": 3.0})
    assert controls.library_values()["AfMode"] == 2
    assert controls.set["focus_distance_diopters"] == 3.0


def test_between_automatic_and_the_least_value_there_is_nothing() -> None:
    controls = pi()
    with pytest.raises(InvalidRequest, match=r"0 \(automatic\), or from 1 on"):
        controls.change({"gain": 0.5})
    assert controls.set["gain"] == 0.0


@pytest.mark.parametrize(
    ("metadata", "reached"),
    [
        ({"ExposureTime": 4980, "AnalogueGain": 1.98, "LensPosition": 8.2}, True),
        ({"ExposureTime": 20_000, "AnalogueGain": 1.98, "LensPosition": 8.2}, False),
        ({"ExposureTime": 4980, "AnalogueGain": 1.0, "LensPosition": 8.2}, False),
        ({"ExposureTime": 4980, "AnalogueGain": 1.98, "LensPosition": 1.0}, False),
        ({}, True),  # nobody tells
    ],
)
def test_a_frame_tells_whether_it_was_taken_with_what_is_set(
    metadata: dict[str, object], reached: bool
) -> None:
    controls = pi(exposure_duration_us=5000, gain=2.0, focus_distance_diopters=8.2)
    assert controls.reached(metadata) is reached


@pytest.mark.parametrize(
    ("told", "settled"),
    [
        ({"AeState": 0}, True),  # idle
        ({"AeState": 1}, False),  # searching
        ({"AeState": 2}, True),  # converged
        ({"AeLocked": True}, True),  # a libcamera without AeState
        ({"AeLocked": False}, False),
        ({}, True),  # nobody tells
    ],
)
def test_an_automatic_exposure_is_reached_when_it_has_settled(
    told: dict[str, object], settled: bool
) -> None:
    metadata = {**told, "ExposureTime": 31_000, "AnalogueGain": 3.7}
    assert pi().reached(metadata) is settled
    fixed = pi(exposure_duration_us=31_000, gain=3.7)
    assert fixed.reached(metadata)


def test_what_a_frame_was_taken_with_is_told_in_the_contracts_types() -> None:
    metadata = {"ExposureTime": 31_000.4, "AnalogueGain": 4, "LensPosition": 2, "Lux": 400.0}
    told = pi().reported(metadata)
    assert told == {"exposure_duration_us": 31_000, "gain": 4.0, "focus_distance_diopters": 2.0}
    assert [type(value) for value in told.values()] == [float, int, float]
