"""What one camera goes through is nothing to the others."""

import asyncio
import contextlib

import grpc
import psutil
import pytest

from tests.conftest import StartService
from tests.support.scenes import HANGS, Table, camera, fault
from tests.support.service import Service
from tests.support.timing import Timings

DELAYED_BY = 1.10
SAMPLES = 11
WELL = camera("well", capture_duration_s=0.15)
EVERY_S = 0.2
ILL = (*HANGS, "crash", "exit", "error", "corrupt", "stale", "slow", "disconnect", "permanent")


def faults(kind: str) -> list[Table]:
    return [fault(kind, at=at) for at in range(2, 40, 2)]


async def suffer(service: Service, camera_id: str) -> None:
    """Capture on and on, at a client's rate; the camera is struck at every second call."""
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError):  # it is faulted
            await service.capture(camera_id)
        await asyncio.sleep(EVERY_S)


async def workers_at_rest(service: Service) -> None:
    """Wait until no worker uses the processor: the warm ones have been started."""
    async with asyncio.timeout(10):
        while True:
            before = _used_s(service)
            await asyncio.sleep(0.1)
            if _used_s(service) - before < 0.02:
                return


def _used_s(service: Service) -> float:
    total = 0.0
    for process in service.workers():
        try:
            total += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


@pytest.mark.timed
@pytest.mark.parametrize("kind", ILL)
async def test_a_capture_is_not_delayed_by_more_than_a_tenth_by_another_cameras_fault(
    start_service: StartService, kind: str
) -> None:
    """Compared with captures of a service without that camera, in the same moments."""
    service = await start_service(WELL + camera("ill", faults=faults(kind), attempt_timeout_s=1.0))
    calm = await start_service(WELL)
    concerned = {}
    for each in (service, calm):
        await each.capture("well")
        await workers_at_rest(each)
        concerned[each] = (each.ps.pid, *(worker.pid for worker in each.workers()))
    await service.capture("ill")
    await workers_at_rest(service)
    suffering = asyncio.create_task(suffer(service, "ill"))
    disturbed, undisturbed = Timings(), Timings()
    for _ in range(SAMPLES):
        with disturbed.one(*concerned[service]):
            await service.capture("well")
        with undisturbed.one(*concerned[calm]):
            await calm.capture("well")
    suffering.cancel()
    await asyncio.wait([suffering])
    print(f"{kind}: disturbed {disturbed}; undisturbed {undisturbed}")
    # The disk is everybody's: half are as quick as three quarters of those that nobody disturbs.
    disturbed.assert_within(undisturbed.percentile_s(75) * DELAYED_BY, percent=50)
