"""What history is asked for and cannot be: refused clearly, and nothing is lost by it."""

import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import RpcErrorInfo
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.events import EventReader
from tests.support.history import QUICK, data_files, download, listed, page, refusal, sha256
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEPT = 3
LARGEST = 2**63 - 1
HUGE = "x" * 60 * 2**10
UNKNOWN = str(uuid.UUID(int=4))
NOBODY = "no-such-camera"

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
NO_CAMERA = (grpc.StatusCode.NOT_FOUND, "CAMERA_NOT_FOUND")
NO_CAPTURE = (grpc.StatusCode.NOT_FOUND, "CAPTURE_NOT_FOUND")
THUMBNAIL = api.DownloadImageRequest.VARIANT_THUMBNAIL
ORIGINAL = api.DownloadImageRequest.VARIANT_ORIGINAL

List, Events = api.ListCapturesRequest, api.CaptureEventsRequest
Download = api.DownloadImageRequest
OF_ONE = (api.GetCaptureRequest, api.DeleteCaptureRequest, Download)


@dataclass(frozen=True)
class Case:
    """A request, the words that must be in the message, the field it names, the refusal.

    A download without an id is one of a capture that is kept.
    """

    request: Message
    words: tuple[str, ...]
    field: str = ""
    refusal: tuple[grpc.StatusCode, str] = INVALID

    @property
    def name(self) -> str:
        kind = type(self.request).__name__.removesuffix("Request")
        return f"{kind} {str(self.request)[:60]!r}"


def at(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


IDS = "allowed: 1 to 64 characters of A-Z a-z 0-9 _ -"
CAMERAS = "a lower-case letter, then up to 62"
LABELS = "a lower-case letter, then up to 62 lower-case letters"
STATES = "allowed: STATE_RUNNING, STATE_SUCCEEDED, STATE_FAILED, STATE_CANCELLED"
TOKENS = "allowed: none, or next_page_token"
TIMES = "allowed: from 1970 to 9999"

CASES = [
    *(
        Case(kind(capture_id=bad), (shown, IDS), "capture_id")
        for kind in OF_ONE
        for bad, shown in [
            ("../../etc/passwd", "'../../etc/passwd'"),
            ("a/b", "'a/b'"),
            ("a\\b", "'a\\\\b'"),
            ("..", "'..'"),
            ("a\0b", "'a\\x00b'"),
            ("a\n", "'a\\n'"),
            ("ü", "'ü'"),
            ("x" * 65, "'xxx"),
            (HUGE, "'xxx"),
        ]
    ),
    *(Case(kind(), ("''", IDS), "capture_id") for kind in OF_ONE[:2]),
    *(Case(kind(capture_id=UNKNOWN), (UNKNOWN,), "", NO_CAPTURE) for kind in OF_ONE),
    *(
        Case(
            Download(read_offset=bad, variant=variant),
            (f"{bad} is out of range", "allowed: from 0 to the file's size, "),
            "read_offset",
        )
        for bad in (-1, -LARGEST - 1, 10**6, LARGEST)
        for variant in (ORIGINAL, THUMBNAIL)
    ),
    *(
        Case(
            Download(max_chunk_bytes=bad),
            (f"{bad} is out of range", "from 1024 to 1048576"),
            "max_chunk_bytes",
        )
        for bad in (-1, 0, 1023, 2**20 + 1)
    ),
    *(
        Case(
            Download(read_limit=bad), (f"{bad} is out of range", "0 (up to the end)"), "read_limit"
        )
        for bad in (-1, -LARGEST - 1)
    ),
    *(
        Case(Download(part=bad, variant=variant), (f"{bad} is out of range", "allowed: 0"), "part")
        for bad in (1, -1, 2**31 - 1)
        for variant in (ORIGINAL, THUMBNAIL)
    ),
    *(
        Case(Download(variant=bad), (str(bad), "VARIANT_ORIGINAL, VARIANT_THUMBNAIL"), "variant")  # type: ignore[arg-type]
        for bad in (9, -1)
    ),
    *(
        Case(kind(camera=bad), (shown, CAMERAS), "camera")
        for kind in (List, Events)
        for bad, shown in [("../x", "'../x'"), ("sim0\0", "'sim0\\x00'"), (HUGE, "'xxx")]
    ),
    *(Case(kind(camera=NOBODY), (NOBODY, "sim0"), "", NO_CAMERA) for kind in (List, Events)),
    Case(List(labels={"../x": "1"}), ("'../x'", LABELS), "labels"),
    Case(List(labels={HUGE: "1"}), ("'xxx", LABELS), "labels"),
    Case(List(labels={"a": HUGE}), ("61440 bytes", "up to 1024"), "labels[a]"),
    Case(List(labels={f"l{n}": "" for n in range(65)}), ("65 labels", "up to 64"), "labels"),
    *(
        Case(List(page_size=bad), (f"{bad} is out of range", "allowed: 0 (50)"), "page_size")
        for bad in (-1, -(2**31))
    ),
    *(
        Case(List(states=[2, bad]), (f"{bad} is not a state", STATES), "states[1]")  # type: ignore[list-item]
        for bad in (0, 99, -1)
    ),
    *(
        Case(List(**{field: bad}), (f"{bad.seconds} s and {bad.nanos} ns", TIMES), field)  # type: ignore[arg-type]
        for field in ("start_time", "end_time")
        for bad in (at(-1), at(253_402_300_800), at(0, -1), at(0, 10**9), at(LARGEST), at(-LARGEST))
    ),
    Case(
        List(start_time=at(2), end_time=at(1)),
        ("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z", "the same or later"),
        "end_time",
    ),
    *(
        Case(List(page_token=bad), (shown, TOKENS), "page_token")
        for bad, shown in [
            ("1", "'1'"),
            ("../../etc/passwd", "'../../etc/passwd'"),
            ("A" * 32, "'AAA"),
            ("A" * 22, "'AAA"),
            ("\0", "'\\x00'"),
            ("ü" * 32, "'üüü"),
            (HUGE, "'xxx"),
        ]
    ),
    *(
        Case(Events(after_sequence=bad), (f"{bad} is out of range", "from 0 to"), "after_sequence")
        for bad in (-1, -LARGEST - 1, LARGEST)
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(folder: Path) -> AsyncIterator[Service]:
    async with Service(folder, camera(**QUICK)) as service:
        for n in range(KEPT):
            await service.capture(labels={"n": str(n)})
        yield service


async def refused(service: Service, request: Message) -> RpcErrorInfo:
    rpc = getattr(service.stub, type(request).__name__.removesuffix("Request"))
    call = rpc(request, timeout=CALL_S)
    streams = isinstance(request, Download | Events)
    return await refusal(call.read() if streams else call)


def assert_refused(info: RpcErrorInfo, case: Case, folder: Path) -> None:
    assert (info.code, info.reason) == case.refusal, info.message
    for word in case.words:
        assert word in info.message
    assert [v.field for v in info.field_violations] == ([case.field] if case.field else [])
    assert all(v.description in info.message for v in info.field_violations)
    assert len(info.message) < 1000
    assert info.retry_delay_s is None
    for word in (str(folder), "Traceback", "internal error", ".sqlite", ".py"):
        assert word not in info.message
    assert not re.search(r"/(usr|home|root|tmp|var|proc)/", info.message)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_bad_input_is_refused_with_subject_value_and_what_is_allowed(
    service: Service, folder: Path, case: Case
) -> None:
    request = type(case.request).FromString(case.request.SerializeToString())
    if isinstance(request, Download) and not request.capture_id:
        request.capture_id = (await listed(service))[0].capture_id
    info = await refused(service, request)
    assert_refused(info, case, folder)
    if case.refusal == NO_CAPTURE:
        assert info.metadata["capture_id"] == UNKNOWN
    if case.refusal == NO_CAMERA:
        assert info.metadata["camera"] == NOBODY
    if case.field == "after_sequence":
        last = int(info.metadata["last_sequence"])
        assert f"to the newest event, {last}" in info.message
        beyond = await refused(service, Events(after_sequence=last + 1))
        assert beyond.metadata["last_sequence"] == str(last)
        async with EventReader(service, after_sequence=last):
            pass


async def test_a_page_token_is_good_for_the_filters_it_was_given_for_only(
    service: Service, tmp_path: Path
) -> None:
    """Its own ones in another order, and with another page size, are the same filters."""
    own: dict[str, Any] = {"camera": "sim0", "states": [2, 3], "start_time": at(1)}
    token = (await page(service, page_size=1, **own)).next_page_token
    rest = await page(service, page_size=9, **{**own, "states": [3, 2, 2]}, page_token=token)
    assert rest.captures == (await listed(service))[1:]
    async with Service(tmp_path, camera(**QUICK)) as other:
        for _ in range(2):
            await other.capture()
        foreign = (await page(other, page_size=1, **own)).next_page_token
    for filters, bad in [
        ({**own, "camera": ""}, token),
        ({**own, "states": [2]}, token),
        ({**own, "states": []}, token),
        ({**own, "start_time": at(2)}, token),
        ({**own, "end_time": at(253_402_300_799)}, token),
        ({**own, "labels": {"n": "1"}}, token),
        ({}, token),
        (own, foreign),
        (own, token[:-1]),
        (own, token + "AAAA"),
        (own, token.swapcase()),
    ]:
        info = await refused(service, List(page_size=1, page_token=bad, **filters))
        assert_refused(info, Case(List(), (bad, TOKENS), "page_token"), tmp_path)


async def test_nothing_was_lost_by_any_of_it(service: Service, folder: Path) -> None:
    captures = await listed(service)
    assert [dict(c.labels) for c in captures] == [{"n": str(n)} for n in reversed(range(KEPT))]
    for capture in captures:
        picture = await download(service, capture.capture_id)
        assert sha256(picture.data) == capture.image.sha256
    assert len(data_files(folder / "data")) == KEPT
