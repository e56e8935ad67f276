"""What was kept is read as it was written, by this version and by later ones."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camsvc.model import errors
from camsvc.model.errors import CameraServiceError, InvalidRequest
from camsvc.model.records import (
    CaptureRecord,
    CaptureState,
    EventRecord,
    EventType,
    Failure,
    StoredImage,
)

TEXTS = st.text(max_size=8)
TIMES_NS = st.integers(0, 2**63 - 1)
SPANS_S = st.floats(0, 1e6)
COUNTS = st.integers(0, 2**40)
VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
LABELS = st.dictionaries(TEXTS, TEXTS, max_size=3)

IMAGES = st.builds(StoredImage, TEXTS, TEXTS, COUNTS, COUNTS, COUNTS, TEXTS)
FAILURES = st.builds(Failure, TEXTS, TEXTS, LABELS, st.none() | SPANS_S, TEXTS)
CAPTURES = st.builds(
    CaptureRecord,
    capture_id=TEXTS,
    camera=TEXTS,
    create_time_ns=TIMES_NS,
    request_id=TEXTS,
    fingerprint=TEXTS,
    state=st.sampled_from(CaptureState),
    labels=LABELS,
    image=st.none() | IMAGES,
    acquisition_time_ns=TIMES_NS,
    exposure_us=st.none() | COUNTS,
    controls=st.dictionaries(TEXTS, VALUES, max_size=3),
    attempts=COUNTS,
    recoveries=COUNTS,
    queue_s=SPANS_S,
    driver_s=SPANS_S,
    store_s=SPANS_S,
    total_s=SPANS_S,
    failure=st.none() | FAILURES,
    warnings=st.lists(TEXTS, max_size=3).map(tuple),
)
EVENTS = st.builds(
    EventRecord,
    type=st.sampled_from(EventType),
    time_ns=TIMES_NS,
    camera=TEXTS,
    capture_id=TEXTS,
    request_id=TEXTS,
    attempt=COUNTS,
    progress_percent=st.none() | st.integers(0, 100),
    queue_position=st.none() | st.integers(0, 20),
    capture=st.none() | CAPTURES,
    failure=st.none() | FAILURES,
    sequence=COUNTS,
)


def typed(values: Any) -> list[tuple[type, Any]]:
    """Return controls so that True and 1 and 1.0 differ."""
    return [(type(value), value) for value in values.values()]


@given(CAPTURES)
def test_a_capture_is_read_as_it_was_written(record: CaptureRecord) -> None:
    read = CaptureRecord.from_json(record.to_json())
    assert read == record
    assert typed(read.controls) == typed(record.controls)


@given(EVENTS)
def test_an_event_is_read_as_it_was_written(event: EventRecord) -> None:
    assert EventRecord.from_json(event.sequence, event.camera, event.to_json()) == event


@given(CAPTURES, EVENTS)
def test_the_stored_form_is_one_line_of_ascii(record: CaptureRecord, event: EventRecord) -> None:
    for text in (record.to_json(), event.to_json()):
        assert text.isascii()
        assert "\n" not in text
        assert "\0" not in text


def test_a_capture_of_an_older_version_has_the_defaults_of_what_it_lacks() -> None:
    old = '{"capture_id": "c", "camera": "cam", "create_time_ns": 7, "state": "SUCCEEDED"}'
    state = CaptureState.SUCCEEDED
    assert CaptureRecord.from_json(old) == CaptureRecord("c", "cam", 7, state=state)


def test_an_event_of_an_older_version_has_the_defaults_of_what_it_lacks() -> None:
    old = '{"type": "STARTED", "time_ns": 7}'
    assert EventRecord.from_json(3, "cam", old) == EventRecord(
        EventType.STARTED, 7, "cam", sequence=3
    )


@given(CAPTURES, st.data())
def test_whatever_has_a_default_may_be_missing(record: CaptureRecord, data: st.DataObject) -> None:
    stored = json.loads(record.to_json())
    optional = sorted(stored.keys() - {"capture_id", "camera", "create_time_ns", "state"})
    if not optional:
        return
    missing = data.draw(st.sampled_from(optional))
    del stored[missing]
    read = CaptureRecord.from_json(json.dumps(stored))
    default = getattr(CaptureRecord("", "", 0), missing)
    assert read == replace(record, **{missing: default})


def test_what_is_as_by_default_takes_no_room() -> None:
    stored = json.loads(CaptureRecord("c", "cam", 7).to_json())
    assert stored.keys() == {
        "capture_id",
        "camera",
        "create_time_ns",
        "state",
        "labels",
        "controls",
    }


KINDS = sorted(CameraServiceError.__subclasses__(), key=lambda kind: kind.__name__)
SAYING_WHEN = [kind for kind in KINDS if kind is not InvalidRequest]


def kept(error: CameraServiceError) -> CameraServiceError:
    """Return an error as it is after it was kept."""
    record = replace(CaptureRecord("c", "cam", 7), failure=Failure.of(error))
    failure = CaptureRecord.from_json(record.to_json()).failure
    assert failure is not None
    return failure.error()


@pytest.mark.parametrize("kind", SAYING_WHEN)
@settings(max_examples=25)
@given(
    message=TEXTS,
    metadata=st.dictionaries(TEXTS, TEXTS, max_size=3),
    retry_after_s=st.none() | SPANS_S,
)
def test_an_error_is_told_again_as_it_was(
    kind: type[CameraServiceError],
    message: str,
    metadata: dict[str, str],
    retry_after_s: float | None,
) -> None:
    error = kept(kind(message, retry_after_s=retry_after_s, metadata=metadata))
    assert type(error) is kind
    assert (error.reason, error.code) == (kind.reason, kind.code)
    assert (error.message, error.metadata) == (message, metadata)
    assert error.retry_after_s == retry_after_s
    assert str(error) == message


@given(
    violations=st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=3),
    metadata=st.dictionaries(TEXTS, TEXTS, max_size=2),
)
def test_an_invalid_request_still_names_each_field(
    violations: dict[str, str], metadata: dict[str, str]
) -> None:
    error = InvalidRequest.of(violations, metadata)
    again = kept(error)
    assert isinstance(again, InvalidRequest)
    assert again.violations == violations
    assert (again.message, again.metadata) == (error.message, error.metadata)


def test_every_error_that_a_client_is_told_was_tried() -> None:
    told = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, CameraServiceError)
    ]
    assert {*told} == {*KINDS, CameraServiceError}
    assert len({kind.reason for kind in KINDS}) == len(KINDS), "the reason tells them apart"


def test_an_error_of_a_newer_version_is_told_with_its_own_words() -> None:
    error = Failure("NEW_REASON", "what it said", {"camera": "cam"}).error()
    assert (error.message, error.metadata) == ("what it said", {"camera": "cam"})


def test_what_is_kept_of_an_error_stays_when_the_error_is_added_to() -> None:
    error = errors.CameraUnavailable("gone", metadata={"camera": "cam"})
    failure = Failure.of(error)
    error.metadata["capture_id"] = "c"
    assert failure.metadata == {"camera": "cam"}
