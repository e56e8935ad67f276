"""What a call that raised is answered with."""

from urllib.parse import quote

import pytest
from camapi.v1 import camera_service_pb2 as api
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from camsvc.api.errors import call_error, status_of
from camsvc.model import errors

NEVER = -1


def ended(
    error: Exception, *, camera: str = "sim0", time_remaining_s: float | None = None
) -> tuple[status_pb2.Status, int | None]:
    return call_error(error, api.GetCameraRequest(camera=camera), time_remaining_s)


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.mark.parametrize("kind", errors.CameraServiceError.__subclasses__())
def test_every_error_has_its_code_and_its_reason(kind: type[errors.CameraServiceError]) -> None:
    error = kind("camera", "why") if kind is errors.InvalidRequest else kind("why")
    status = status_of(error)
    assert code_pb2.Code.Name(status.code) == kind.code
    assert (error_info(status).reason, error_info(status).domain) == (kind.reason, "camsvc")


@pytest.mark.parametrize(
    ("error", "time_remaining_s", "pushback_ms"),
    [
        (errors.CameraBusy("busy", retry_after_s=0.0421), None, 43),
        (errors.CameraBusy("busy", retry_after_s=1.0), 1.5, 1000),
        (errors.CameraBusy("busy", retry_after_s=1.0), 1.0, NEVER),
        (errors.CameraUnavailable("away", retry_after_s=0.0), None, 0),
        (errors.StorageFull("full"), None, NEVER),
        (errors.CameraFaulted("faulted"), None, None),
        (errors.CaptureTimeout("late", retry_after_s=1.0), None, None),
    ],
)
def test_a_client_calls_again_when_that_helps_and_fits_its_deadline(
    error: errors.CameraServiceError, time_remaining_s: float | None, pushback_ms: int | None
) -> None:
    assert ended(error, time_remaining_s=time_remaining_s)[1] == pushback_ms


@pytest.mark.parametrize(
    ("asked", "known", "camera"),
    [
        ("sim0", {}, "sim0"),
        ("sim0", {"camera": "sim1"}, "sim1"),
        ("", {}, None),
        ("x" * 64, {}, None),
    ],
)
def test_an_error_names_the_camera(asked: str, known: dict[str, str], camera: str | None) -> None:
    status, _ = ended(errors.CameraUnavailable("away", metadata=known), camera=asked)
    assert error_info(status).metadata.get("camera") == camera


def test_an_unhandled_exception_is_logged_and_not_shown() -> None:
    with capture_logs() as logs:
        status, _ = ended(KeyError("/secret/path"))
    assert status.code == code_pb2.INTERNAL
    assert "secret" not in str(status)
    assert [(e["event"], e["request"]) for e in logs] == [
        ("unhandled exception in a call", "GetCameraRequest")
    ]


def bad_request(status: status_pb2.Status) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    assert status.details[-1].Unpack(bad)
    return bad


def test_each_wrong_field_is_named() -> None:
    wrong = {f"labels[key{n}]": "too long; allowed: up to 1024 bytes" for n in range(10)}
    status = status_of(errors.InvalidRequest.of(wrong))
    named = {each.field: each.description for each in bad_request(status).field_violations}
    assert named == wrong
    assert status.message.startswith("10 fields are wrong: labels[key0]: too long")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(errors.CameraUnavailable, TEXTS.map(lambda text: text * 1000))
    | st.dictionaries(TEXTS, TEXTS.map(lambda text: text * 100), min_size=1, max_size=130).map(
        errors.InvalidRequest.of
    )
)
def test_an_error_fits_into_the_headers_of_a_call(error: errors.CameraServiceError) -> None:
    """gRPC drops more than 8 KiB of them; the text is in there twice."""
    status = status_of(error)
    in_headers = len(quote(status.message)) + len(status.SerializeToString()) * 4 / 3
    assert in_headers < 8 * 1024
    assert error.message.startswith(status.message.removesuffix("..."))
    if isinstance(error, errors.InvalidRequest):
        assert bad_request(status).field_violations


def test_a_list_in_a_message_is_cut_off_and_says_so() -> None:
    names = [f"cam{n}" for n in range(64)]
    assert errors.some_of(names) == ", ".join(names[:8]) + " and 56 more"
    assert errors.some_of(names[:8]) == ", ".join(names[:8])
    assert errors.some_of([]) == "none"
