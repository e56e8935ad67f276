"""What was taken is kept: listed, described, also by the service that starts after this one.

Where a test needs no empty history, it has a camera of its own in a service that is shared.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from grpc_status import rpc_status

from camsvc.model.records import CaptureRecord, CaptureState, Failure
from camsvc.storage import queries as rows
from camsvc.storage.schema import connect
from tests.support.history import (
    QUICK,
    REFERENCE,
    data_files,
    deleted,
    described,
    download,
    exposures,
    listed,
    page,
    refusal,
    sha256,
)
from tests.support.scenes import camera, fault
from tests.support.service import Service
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b"
Capture = pb.Capture


SLOW: dict[str, Any] = {**QUICK, "capture_duration_s": 0.5}
SETTINGS = (
    camera("failing", faults=[fault("error", times=0)], **QUICK)
    + camera("broken", faults=[fault("permanent")], **QUICK)
    + "".join(camera(name, **QUICK) for name in ("plain", "labelled"))
    + "".join(camera(name, **SLOW) for name in ("shown", "kept"))
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(folder: Path) -> AsyncIterator[Service]:
    async with Service(folder, SETTINGS) as service:
        yield service


async def taken(service: Service, name: str = "sim0", **fields: Any) -> pb.Capture:
    return (await service.capture(name, delivery=REFERENCE, **fields)).capture


async def running(service: Service, name: str) -> pb.Capture:
    """Wait for a capture that is under way; return it."""
    found: list[pb.Capture] = []

    async def there() -> bool:
        found[:] = await listed(service, camera=name, states=[Capture.STATE_RUNNING])
        return bool(found)

    await until(there, "a capture is RUNNING")
    return found[0]


def ids(captures: list[pb.Capture]) -> list[str]:
    return [capture.capture_id for capture in captures]


async def test_pages_are_newest_first_and_stay_right_while_new_captures_arrive(
    tmp_path: Path,
) -> None:
    """A page has 50 captures unless asked otherwise, and there is none behind the last."""
    async with Service(tmp_path, camera(**QUICK) + camera("sim1", **QUICK)) as empty:
        both = [await taken(empty, f"sim{n % 2}") for n in range(7)]
        pages: list[list[pb.Capture]] = []
        token = ""
        while not pages or token:
            response = await page(empty, page_size=3, page_token=token)
            pages.append(list(response.captures))
            token = response.next_page_token
            both.append(await taken(empty))  # newer than what is still to be listed
        assert [len(found) for found in pages] == [3, 3, 1]
        assert [c for found in pages for c in found] == both[6::-1]
        assert await listed(empty, page_size=3) == both[::-1]
        both += [await taken(empty) for _ in range(51 - len(both))]
        first = await page(empty)
        assert ids(list(first.captures)) == ids(both[:0:-1])
        rest = await page(empty, page_token=first.next_page_token)
        assert ids(list(rest.captures)) == ids(both[:1])
        assert not rest.next_page_token
        for size in (51, 10**6):
            whole = await page(empty, page_size=size)
            assert len(whole.captures) == 51
            assert not whole.next_page_token, "there is no further page, not even an empty one"


async def test_a_page_never_takes_more_than_1_mib(tmp_path: Path) -> None:
    """However much is asked for, and whatever was noted; pages together have all of it."""
    failure = Failure("CAMERA_UNAVAILABLE", "why" * 300, {"key": "value" * 100})
    about: dict[str, Any] = {"state": CaptureState.FAILED, "failure": failure}
    records = []
    for n in range(180):
        piece = "x\x01ü"[n // 60]
        labels = {f"k{k:02}": piece * (1021 // len(piece.encode())) for k in range(16)}
        records.append(CaptureRecord(f"c{n}", "sim0", n, labels=labels, **about))
    (tmp_path / "data").mkdir()
    db, *_ = connect(tmp_path / "data" / "journal.sqlite3", 1)
    with contextlib.closing(db):
        db.execute("BEGIN")
        for record in records:
            rows.add_capture(db, record)
        db.execute("COMMIT")
    async with Service(tmp_path, camera(**QUICK)) as service:
        found: list[pb.Capture] = []
        sizes: list[int] = []
        token = ""
        while token or not sizes:
            response = await page(service, page_size=1000, page_token=token)
            found += response.captures
            sizes.append(response.ByteSize())
            token = response.next_page_token
    assert ids(found) == [record.capture_id for record in reversed(records)]
    assert [shown.labels for shown in found] == [record.labels for record in reversed(records)]
    assert max(sizes) <= (1 << 20) + 100, "but for its token"
    assert len(sizes) <= 6, "nor is it much less"


async def test_each_filter_and_all_of_them_together(tmp_path: Path) -> None:
    broken = camera("sim2", faults=[fault("permanent")], **QUICK)
    async with Service(tmp_path, camera(**QUICK) + camera("sim1", **QUICK) + broken) as empty:
        a = await taken(empty, labels={"scan": "a", "point": "1"})
        b = await taken(empty, "sim1", labels={"scan": "a", "point": "2"})
        c = await taken(empty, labels={"scan": "b", "point": "1"})
        d = await taken(empty, "sim1")
        await refusal(empty.capture("sim2", labels={"scan": "a"}))
        (e,) = await listed(empty, camera="sim2")
        succeeded, failed = Capture.STATE_SUCCEEDED, Capture.STATE_FAILED
        cancelled, under_way = Capture.STATE_CANCELLED, Capture.STATE_RUNNING
        for filters, expected in (
            ({}, [e, d, c, b, a]),
            ({"camera": "sim0"}, [c, a]),
            ({"labels": {"scan": "a"}}, [e, b, a]),
            ({"labels": {"scan": "a", "point": "2"}}, [b]),
            ({"labels": {"scan": "A"}}, []),
            ({"labels": {"scan": ""}}, []),
            ({"start_time": c.create_time}, [e, d, c]),
            ({"end_time": c.create_time}, [b, a]),
            ({"start_time": b.create_time, "end_time": d.create_time}, [c, b]),
            ({"start_time": c.create_time, "end_time": c.create_time}, []),
            ({"states": [failed]}, [e]),
            ({"states": [succeeded, failed, succeeded]}, [e, d, c, b, a]),
            ({"states": [cancelled, under_way]}, []),
            ({"states": [succeeded], "labels": {"scan": "a"}, "camera": "sim1"}, [b]),
            ({"states": [succeeded], "start_time": b.create_time, "labels": {"point": "1"}}, [c]),
        ):
            for page_size in (0, 1):
                found = await listed(empty, page_size=page_size, **filters)
                assert found == expected, filters


@pytest.mark.parametrize(("name", "attempts"), [("failing", 3), ("broken", 1)])
async def test_a_failed_capture_is_kept_with_the_very_error_its_client_was_told(
    service: Service, name: str, attempts: int
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture(name, labels={"why": "test"}, request_id=ID)
    told = rpc_status.from_call(caught.value)
    (capture,) = await listed(service, camera=name)
    assert capture.state == Capture.STATE_FAILED
    assert capture.error == told
    assert capture.attempts == attempts
    assert capture.request_id == ID
    assert dict(capture.labels) == {"why": "test"}
    assert capture.timing.total.ToNanoseconds() > 0
    assert not capture.HasField("image")
    assert await described(service, capture.capture_id) == capture


async def test_a_capture_is_running_until_its_picture_is_kept(service: Service) -> None:
    await taken(service, "shown")
    call = asyncio.create_task(service.capture("shown", labels={"n": "1"}, request_id=ID))
    begun = await running(service, "shown")
    assert (begun.camera, begun.request_id, dict(begun.labels)) == ("shown", ID, {"n": "1"})
    for field in ("image", "acquisition_time", "timing", "error"):
        assert not begun.HasField(field), field
    capture = (await call).capture
    assert capture.capture_id == begun.capture_id
    assert capture.create_time == begun.create_time
    assert await described(service, capture.capture_id) == capture
    assert capture.state == Capture.STATE_SUCCEEDED
    spans = capture.timing
    assert spans.driver.ToMilliseconds() >= 500
    assert spans.store.ToNanoseconds() > 0
    assert (
        sum(part.ToNanoseconds() for part in (spans.queue, spans.driver, spans.store))
        <= spans.total.ToNanoseconds()
    )


async def test_a_deleted_capture_is_gone_with_its_file_and_its_request_id(
    service: Service, folder: Path
) -> None:
    kept, gone = await taken(service, "plain"), await taken(service, "plain", request_id=ID)
    before = data_files(folder / "data")
    await deleted(service, gone.capture_id)
    assert set(before) - set(data_files(folder / "data")) == {f"{gone.capture_id}.jpg"}
    for call in (described, download, deleted):
        info = await refusal(call(service, gone.capture_id))
        assert (info.code, info.reason) == (grpc.StatusCode.NOT_FOUND, "CAPTURE_NOT_FOUND")
        assert info.metadata["capture_id"] == gone.capture_id
    assert await listed(service, camera="plain") == [kept]
    again = await service.capture("plain", request_id=ID, labels={"other": "request"})
    assert not again.replayed
    assert exposures(again.capture) == exposures(gone) + 1


async def test_whatever_a_label_says_it_is_kept_as_it_is(service: Service, folder: Path) -> None:
    """It is text: no path, no SQL, no JSON."""
    before = data_files(folder / "data")
    for text in (
        "../../etc/passwd",
        "a\0b",
        "'; DROP TABLE captures; --",
        '"}',
        "%",
        "ü" * 512,
        "",
    ):
        capture = await taken(service, "labelled", labels={"odd": text})
        assert dict(capture.labels) == {"odd": text}
        assert await listed(service, labels={"odd": text}) == [capture]
        assert data_files(folder / "data") == sorted([*before, f"{capture.capture_id}.jpg"])
        await deleted(service, capture.capture_id)


async def test_a_running_capture_cannot_be_deleted(service: Service) -> None:
    call = asyncio.create_task(service.capture("kept"))
    capture_id = (await running(service, "kept")).capture_id
    info = await refusal(deleted(service, capture_id))
    assert (info.code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CAMERA_BUSY")
    assert info.retry_delay_s
    assert (info.metadata["camera"], info.metadata["capture_id"]) == ("kept", capture_id)
    assert capture_id in info.message
    nothing = await refusal(download(service, capture_id))
    assert (nothing.code, nothing.reason) == (grpc.StatusCode.NOT_FOUND, "CAPTURE_NOT_FOUND")
    assert "RUNNING" in nothing.message
    response = await call
    assert sha256(response.image_data) == response.capture.image.sha256
    await deleted(service, capture_id)
    assert await listed(service, camera="kept") == []


async def test_the_next_service_keeps_all_that_this_one_has_kept(tmp_path: Path) -> None:
    settings = camera(**QUICK) + camera("sim1", faults=[fault("permanent")], **QUICK)
    async with Service(tmp_path, settings) as service:
        pictures = [await service.capture(labels={"n": str(n)}) for n in range(3)]
        await refusal(service.capture("sim1"))
        gone = await taken(service)
        await deleted(service, gone.capture_id)
        before = await listed(service)
        token = (await page(service, page_size=2)).next_page_token
    async with Service(tmp_path, camera(**QUICK)) as service:
        assert await listed(service) == before
        rest = await page(service, page_size=2, page_token=token)
        assert list(rest.captures) == before[2:], "a token outlives the service"
        assert ids(await listed(service, camera="sim1")) == [before[0].capture_id], (
            "also those of a camera that is no longer configured"
        )
        for response in pictures:
            assert (await download(service, response.capture.capture_id)).data == (
                response.image_data
            )
        assert (await taken(service)).capture_id not in {*ids(before), gone.capture_id}
