"""A camera takes one still at a time; every other client is told when to come back, or waits."""

import asyncio
import itertools
import math
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import RpcErrorInfo, error_info

from tests.conftest import StartService
from tests.support.pictures import number
from tests.support.scenes import camera, fault
from tests.support.service import Service
from tests.support.smalldisk import SmallDisk
from tests.support.timing import Timings, timing
from tests.support.waiting import until

CLIENTS = 10
REFUSALS = 200
REFUSAL_P99_S = 0.005
WAIT = api.CaptureRequest.BUSY_POLICY_WAIT


async def outcome(
    call: "asyncio.Future[api.CaptureResponse]",
) -> api.CaptureResponse | RpcErrorInfo:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error_info(error)


def pushback_of(error: grpc.aio.AioRpcError) -> str | bytes | None:
    return dict(iter(error.trailing_metadata() or ())).get("grpc-retry-pushback-ms")


async def occupied(service: Service, **fields: Any) -> "asyncio.Task[api.CaptureResponse]":
    """Begin a capture, and wait until it holds the camera."""
    task = asyncio.create_task(service.capture(**fields))
    await service.wait_for_state(pb.Camera.STATE_CAPTURING)
    return task


async def left(call: "asyncio.Task[api.CaptureResponse]") -> None:
    """Leave a call, as a client does that needs its picture no more."""
    call.cancel()
    await asyncio.wait([call])


async def refused(service: Service, **fields: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.capture(**fields)
    return caught.value


async def refusals(service: Service, count: int) -> Timings:
    """Ask a busy camera so many times; return how long the answers took."""
    timings = Timings()
    for _ in range(count):
        with timings.one():
            error = await refused(service)
        assert error_info(error).reason == "CAMERA_BUSY"
    return timings


async def test_of_ten_captures_at_once_one_is_taken_for_each_admitted_call(
    start_service: StartService,
) -> None:
    service = await start_service(camera(capture_duration_s=0.5))
    before = number(await service.capture())
    ids = [str(uuid.uuid4()) for _ in range(CLIENTS)]
    calls = [asyncio.create_task(outcome(service.capture(request_id=i))) for i in ids]  # type: ignore[arg-type]
    outcomes = await asyncio.gather(*calls)
    taken = [o for o in outcomes if isinstance(o, api.CaptureResponse)]
    busy = [o for o in outcomes if isinstance(o, RpcErrorInfo)]
    assert len(taken) == 1, "all ten came within the half second that the first one took"
    assert number(taken[0]) == before + 1
    holder = taken[0].capture
    for info in busy:
        assert (info.code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CAMERA_BUSY")
        assert info.metadata["camera"] == "sim0"
        assert info.metadata["holder_capture_id"] == holder.capture_id
        assert info.metadata["holder_request_id"] == holder.request_id
        assert info.metadata["holder_expected_end_time"].endswith("Z")
        assert "'sim0'" in info.message
        assert "busy_policy WAIT" in info.message
    waits = sorted(info.retry_delay_s or 0.0 for info in busy)
    assert waits[0] > 0
    assert all(b > a for a, b in itertools.pairwise(waits)), "each has a turn of its own"
    assert number(await service.capture()) == before + 2, "the refused ones pressed no shutter"
    counted = (await service.camera()).camera.statistics
    assert (counted.captures_succeeded, counted.captures_rejected) == (3, CLIENTS - 1)


@pytest.mark.timed
async def test_with_the_clients_retry_policy_all_ten_succeed_in_turn(
    start_service: StartService,
) -> None:
    service = await start_service(camera(capture_duration_s=0.2))
    await service.capture()
    channels = [service.connect(retries=True) for _ in range(CLIENTS)]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    with timing() as took:
        responses = await asyncio.gather(
            *(
                CameraServiceStub(channel).Capture(
                    api.CaptureRequest(camera="sim0", request_id=str(uuid.uuid4())), timeout=30
                )
                for channel in channels
            )
        )
    await asyncio.gather(*(channel.close() for channel in channels))
    assert len({number(response) for response in responses}) == CLIENTS
    took.assert_within(2 * CLIENTS * 0.2 + 1)  # the promised turns follow closely on one another


async def test_the_trailer_says_the_wait_that_retryinfo_says(start_service: StartService) -> None:
    service = await start_service(camera(capture_duration_s=0.5))
    with timing() as took:
        holder = await occupied(service)
        error = await refused(service)
        await holder
    delay_s = error_info(error).retry_delay_s
    assert delay_s is not None
    assert pushback_of(error) == str(math.ceil(delay_s * 1000))
    assert 0 < delay_s < 1 + took.s, "it is computed from how long captures take here"


@pytest.mark.timed
async def test_a_wait_that_does_not_fit_the_deadline_is_refused_with_never(
    start_service: StartService,
) -> None:
    """The client's retry policy then gives up at once, instead of sitting its deadline out."""
    service = await start_service(camera(capture_duration_s=20.0), retries=True)
    holder = await occupied(service)
    with timing() as took:
        error = await refused(service, timeout=1)
    took.assert_within(0.5)
    assert error_info(error).reason == "CAMERA_BUSY"
    assert (error_info(error).retry_delay_s or 0) > 1
    assert pushback_of(error) == "-1"
    await left(holder)


async def test_queued_captures_are_taken_first_come_first_served(
    start_service: StartService,
) -> None:
    limit = 5
    slow = {**fault("slow"), "seconds": 3.0}  # the first one, until all others have come
    service = await start_service(
        camera(faults=[slow], capture_duration_s=0.1, queue_limit=limit, attempt_timeout_s=60.0)
    )
    calls = [await occupied(service)]
    for count in range(1, limit + 1):
        calls.append(asyncio.create_task(service.capture(busy_policy=WAIT)))

        async def in_line(count: int = count) -> bool:
            return (await service.camera()).camera.queued_captures == count

        await until(in_line, f"{count} captures wait")
    error = await refused(service, busy_policy=WAIT)
    numbers = [number(await call) for call in calls]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == limit + 1
    info = error_info(error)
    assert (info.code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert info.metadata["limit"] == str(limit)
    assert info.retry_delay_s
    assert f"{limit} captures waiting" in info.message


async def test_the_time_in_the_queue_is_not_taken_from_a_captures_worst_case(
    start_service: StartService,
) -> None:
    """Without a deadline, a capture at the end of a long queue is still taken."""
    shot_s = 0.6
    service = await start_service(
        camera(
            capture_duration_s=shot_s,
            attempts=1,
            attempt_timeout_s=3.0,
            open_timeout_s=3.0,
            open_at_start=True,
            queue_limit=100,
        )
    )
    await service.wait_for_state(pb.Camera.STATE_READY)
    worst_s = (await service.camera()).camera.worst_case_capture_duration.ToNanoseconds() / 1e9
    count = math.ceil(worst_s / shot_s) + 2
    calls = [service.capture(busy_policy=WAIT, timeout=None) for _ in range(count)]
    responses = await asyncio.gather(*calls)
    assert len({number(response) for response in responses}) == count


@pytest.mark.timed
async def test_a_queued_capture_whose_deadline_cannot_be_met_is_refused_at_once(
    start_service: StartService,
) -> None:
    service = await start_service(camera(capture_duration_s=20.0))
    holder = await occupied(service)
    with timing() as took:
        error = await refused(service, busy_policy=WAIT, timeout=1)
        assert error_info(error).reason == "CAMERA_BUSY"
    took.assert_within(0.5)
    await left(holder)


@pytest.mark.timed
async def test_busy_is_said_within_5_ms_while_the_driver_holds_the_gil(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The data is in memory: each call looks whether the disk answers, which is everybody's."""
    settings = camera(faults=[fault("hang_gil", at=2)], attempt_timeout_s=300.0)
    async with (
        SmallDisk(tmp_path / "data", "size=64m") as disk,
        Service(tmp_path, settings, entering=disk.entering) as service,
    ):
        await service.capture()
        holder = await occupied(service, timeout=None)
        timings = await refusals(service, REFUSALS)
        await left(holder)
    record_property("refusal", str(timings))
    timings.assert_within(REFUSAL_P99_S, percent=99)
