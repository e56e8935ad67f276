"""One request id, one press of the shutter, however often it is asked for.

The tests share a service; each has a camera of its own there.
"""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api

from tests.support.events import EventReader
from tests.support.history import (
    PNG,
    QUICK,
    REFERENCE,
    WAIT,
    deleted,
    exposures,
    listed,
    refusal,
    sha256,
)
from tests.support.scenes import camera, fault
from tests.support.service import Service
from tests.support.waiters import held, waits
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "3f2a8c1e-5b7d-4e9f-8a6b-0c1d2e3f4a5b"
GAIN = [pb.ControlSetting(name="gain", value=pb.ControlValue(double_value=2.0))]
OTHERS: dict[str, dict[str, Any]] = {
    "image": {"image": PNG},
    "size": {"image": pb.ImageOptions(max_width_px=100)},
    "controls": {"controls": GAIN},
    "labels": {"labels": {"n": "1"}},
}
SLOW: dict[str, Any] = {**QUICK, "capture_duration_s": 0.5}
SETTINGS = (
    "".join(
        camera(name, **SLOW) for name in ("shared", "first", "second", "other", "left", "queue")
    )
    + camera("failing", faults=[fault("error")], attempts=1, **QUICK)
    + camera("plain", **QUICK)
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with Service(tmp_path_factory.mktemp("service"), SETTINGS) as service:
        yield service


def assert_same(first: api.CaptureResponse, again: api.CaptureResponse) -> None:
    """The second one is the first one's picture."""
    assert (first.replayed, again.replayed) == (False, True)
    assert again.capture == first.capture
    assert again.image_data == first.image_data
    assert sha256(again.image_data) == first.capture.image.sha256


async def test_two_calls_at_once_share_one_shot(service: Service) -> None:
    await service.capture("shared")
    calls = [service.capture("shared", request_id=spelled) for spelled in (ID, ID.upper())]
    responses = sorted(await asyncio.gather(*calls), key=lambda response: response.replayed)
    assert_same(*responses)
    assert exposures(responses[0].capture) == 2
    assert (await service.camera("shared")).camera.statistics.captures_succeeded == 2


@pytest.mark.parametrize("inline", ["first", "second"])
async def test_who_joins_may_want_the_picture_in_another_way(service: Service, inline: str) -> None:
    """Inline or by reference, and with another limit."""
    ways: list[dict[str, Any]] = [{"busy_policy": WAIT}, {"delivery": REFERENCE}]
    way, other = ways if inline == "first" else ways[::-1]
    holder = await held(service, inline, request_id=ID, **way)
    too_large = await refusal(service.capture(inline, request_id=ID, max_inline_bytes=10))
    responses = [await service.capture(inline, request_id=ID, **other), await holder]
    assert len({response.capture.capture_id for response in responses}) == 1
    assert too_large.metadata["capture_id"] == responses[0].capture.capture_id
    whole, empty = sorted(responses, key=lambda r: len(r.image_data), reverse=True)
    assert sha256(whole.image_data) == whole.capture.image.sha256
    assert not empty.image_data
    assert [exposures(capture) for capture in await listed(service, camera=inline)] == [1]


async def test_another_request_under_the_same_id_is_refused(service: Service) -> None:
    """While the first one is under way, and when it is stored."""
    holder = await held(service, "other", request_id=ID)

    async def there() -> bool:
        return bool(await listed(service, camera="other"))

    await until(there, "the journal has it as running")
    for stored in (False, True):
        if stored:
            await holder
        (capture,) = await listed(service, camera="other")
        for what, fields in OTHERS.items():
            info = await refusal(service.capture("other", request_id=ID, **fields))
            assert (info.code, info.reason) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "REQUEST_ID_REUSED",
            ), what
            assert info.metadata == {
                "camera": "other",
                "request_id": ID,
                "capture_id": capture.capture_id,
            }
            assert ID in info.message
            assert info.retry_delay_s is None
    same: dict[str, Any] = {"image": pb.ImageOptions(format=pb.ImageOptions.FORMAT_JPEG)}
    assert_same(await holder, await service.capture("other", request_id=ID, **same))
    assert [exposures(c) for c in await listed(service, camera="other")] == [1]


async def test_a_deadline_that_passes_does_not_waste_the_shot(service: Service) -> None:
    """The first one asks again while it is under way, the second one later."""
    await service.capture("left")
    for count, early in enumerate((True, False), 2):
        request_id = str(uuid.UUID(int=count))
        async with EventReader(service, camera="left") as reader:
            info = await refusal(service.capture("left", request_id=request_id, timeout=0.2))
            assert info.code is grpc.StatusCode.DEADLINE_EXCEEDED
            if not early:
                await reader.until_ended()
            again = await service.capture("left", request_id=request_id)
        assert again.replayed
        assert exposures(again.capture) == count
        assert sha256(again.image_data) == again.capture.image.sha256
    assert exposures((await service.capture("left")).capture) == 4
    assert len(await listed(service, camera="left")) == 4


async def test_who_leaves_the_queue_takes_a_new_capture_when_back(service: Service) -> None:
    holder = await held(service, "queue")
    call = await waits(service, 1, "queue", request_id=ID)
    call.cancel()
    await holder
    again = await service.capture("queue", request_id=ID, busy_policy=WAIT)
    assert not again.replayed
    assert exposures(again.capture) == 2
    states = [capture.state for capture in await listed(service, camera="queue")]
    assert sorted(states) == [pb.Capture.STATE_SUCCEEDED] * 2 + [pb.Capture.STATE_CANCELLED]


async def test_an_id_whose_capture_failed_or_was_deleted_takes_a_new_one(service: Service) -> None:
    info = await refusal(service.capture("failing", request_id=ID, labels={"n": "1"}))
    assert info.reason == "CAMERA_UNAVAILABLE"
    second = await service.capture("failing", request_id=ID)
    assert not second.replayed, "and it may be another request"
    assert second.capture.capture_id != info.metadata["capture_id"]
    assert_same(second, await service.capture("failing", request_id=ID))
    await deleted(service, second.capture.capture_id)
    third = await service.capture("failing", request_id=ID)
    assert not third.replayed
    assert exposures(third.capture) == exposures(second.capture) + 1


async def test_without_an_id_each_call_is_a_new_capture(service: Service) -> None:
    responses = [await service.capture("plain") for _ in range(3)]
    assert [exposures(response.capture) for response in responses] == [1, 2, 3]
    assert not any(response.replayed for response in responses)
    assert not any(response.capture.request_id for response in responses)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_asked_again_it_is_the_stored_one_also_after_the_service_has_ended(
    tmp_path: Path, end: signal.Signals
) -> None:
    """What was under way when it was killed is taken anew."""
    settings = camera(**QUICK) + camera("sim1", **SLOW)
    asked: dict[str, Any] = {"request_id": ID, "labels": {"n": "1"}, "controls": GAIN, "image": PNG}
    async with Service(tmp_path, settings) as service:
        first = await service.capture(**asked)
        assert_same(first, await service.capture(**asked))
        elsewhere = await held(service, "sim1", request_id=ID)  # an id is the camera's only
        await service.stop(end)
        killed = end == signal.SIGKILL
        if killed:
            assert (await refusal(elsewhere)).code is grpc.StatusCode.UNAVAILABLE
        else:
            assert not (await elsewhere).replayed
    async with Service(tmp_path, settings) as service:
        assert_same(first, await service.capture(busy_policy=WAIT, **asked))
        shown = (await service.camera()).camera
        assert shown.state == pb.Camera.STATE_CLOSED, "that needs no camera"
        assert len(await listed(service, camera="sim0")) == 1
        (other,) = await listed(service, camera="sim1")
        again = await service.capture("sim1", request_id=ID)
    assert again.replayed == (not killed)
    if killed:
        assert other.state == pb.Capture.STATE_CANCELLED
        assert "the service ended" in other.error.message
        assert again.capture.capture_id != other.capture_id
    else:
        assert again.capture == other
