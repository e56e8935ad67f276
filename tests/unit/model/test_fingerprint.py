"""Requests are distinguished by what they ask for, also those that an older version has stored."""

from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camsvc.model.fingerprint import SHOT_DEFAULTS, fingerprint, is_same_request
from camsvc.model.values import Shot

SHOTS = st.builds(
    Shot,
    st.sampled_from(["JPEG", "PNG"]),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 3),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([True, 1, 1.0, "1"]), max_size=2),
)
REQUESTS = st.tuples(SHOTS, st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")))


def exactly(request: tuple[Shot, dict[str, str]]) -> str:
    """Return a request so that what differs in type differs too, and order does not count."""
    shot, labels = request
    plain = replace(shot, controls={})
    return repr((plain, sorted(shot.controls.items()), sorted(labels.items())))


@given(REQUESTS, REQUESTS)
def test_requests_have_the_same_fingerprint_exactly_when_they_ask_for_the_same(
    one: tuple[Shot, dict[str, str]], other: tuple[Shot, dict[str, str]]
) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (exactly(one) == exactly(other))


def test_the_order_of_labels_and_controls_does_not_count() -> None:
    one = fingerprint(Shot(controls={"a": 1, "b": 2}), {"x": "1", "y": "2"})
    assert one == fingerprint(Shot(controls={"b": 2, "a": 1}), {"y": "2", "x": "1"})


@pytest.mark.parametrize(
    ("shot", "labels"),
    [
        (Shot(format="PNG"), {}),
        (Shot(quality_percent=80), {}),
        (Shot(max_width_px=80), {}),
        (Shot(max_height_px=80), {}),
        (Shot(controls={"gain": 1.0}), {}),
        (Shot(controls={"gain": 1}), {}),
        (Shot(), {"gain": "1"}),
    ],
)
def test_each_field_of_a_request_counts(shot: Shot, labels: dict[str, str]) -> None:
    plain = fingerprint(Shot(), {})
    assert fingerprint(shot, labels) != plain
    assert len(plain) == len(fingerprint(shot, labels)) == 34


FULL = Shot(
    format="PNG",
    quality_percent=80,
    max_width_px=640,
    max_height_px=480,
    controls={"gain": 1.0, "iso": 100, "flash": True, "mode": "manual"},
)
FULL_LABELS = {"scan": "7", "point": "3"}
GOLDEN: list[tuple[Shot, dict[str, str], str, str]] = [
    (Shot(), {}, "1:44136fa355b3678a1146ad16f7e8649e", "210dd365492333c5d1d788d29c4938f6"),
    (FULL, FULL_LABELS, "1:2ea1f7f41e30b1c65241f856866bd3f2", "2ea1f7f41e30b1c65241f856866bd3f2"),
]


@pytest.mark.parametrize(("shot", "labels", "stored", "unversioned"), GOLDEN)
def test_a_stored_fingerprint_stays_that_of_its_request(
    shot: Shot, labels: dict[str, str], stored: str, unversioned: str
) -> None:
    """Of this version, and of the one before: a retry after an upgrade is no other request."""
    assert fingerprint(shot, labels) == stored
    for known in (stored, unversioned):
        assert is_same_request(known, shot, labels)
        assert not is_same_request(known, replace(shot, quality_percent=1), labels)
        assert not is_same_request(known, shot, {**labels, "more": "1"})


@dataclass(frozen=True, slots=True)
class GrownShot(Shot):
    """A later version's."""

    frames: int = 1


def test_a_shot_that_gained_a_field_is_the_same_request_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SHOT_DEFAULTS, "frames", 1)
    for shot, labels, stored, unversioned in GOLDEN:
        grown = GrownShot(**{f.name: getattr(shot, f.name) for f in fields(shot)})
        for known in (stored, unversioned):
            assert is_same_request(known, grown, labels)
            assert not is_same_request(known, replace(grown, frames=3), labels)


def test_each_field_of_a_shot_has_its_place_in_the_fingerprint() -> None:
    assert [f.name for f in fields(Shot)] == list(SHOT_DEFAULTS)
