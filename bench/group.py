"""How far apart the cameras of a group take their pictures, and what the group costs.

Beside each group, the same cameras asked one by one at the same moment, without the meeting.

    make bench-group
"""

import asyncio
import statistics
import sys
import time
from typing import TYPE_CHECKING

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from bench import live_servers

if TYPE_CHECKING:  # it is there for the type checker only
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub

CAMERAS, GROUPS, WARM_UP = 4, 300, 20
CALL_S = 30
BUDGET_MS = 5.0
# Each takes its own time to be made ready, as cameras do.
PREPARE_S = (0.0, 0.01, 0.02, 0.04)


def settings() -> str:
    """Return the settings of the cameras."""
    return "\n".join(
        f'[[cameras]]\nid = "cam{n}"\ndriver = "simulated"\nwidth_px = 640\nheight_px = 480\n'
        f"capture_duration_s = 0.05\nprepare_duration_s = {PREPARE_S[n]}"
        for n in range(CAMERAS)
    )


async def grouped(stub: "CameraServiceAsyncStub", requests: list[api.CaptureRequest]) -> float:
    """Return the skew of one group, in seconds."""
    answer = await stub.CaptureGroup(api.CaptureGroupRequest(requests=requests), timeout=CALL_S)
    for result in answer.results:
        if result.WhichOneof("outcome") != "capture":
            raise SystemExit(f"{result.camera}: {result.error.message}")
    return float(answer.acquisition_skew.ToNanoseconds() / 1e9)


async def apart(stub: "CameraServiceAsyncStub", requests: list[api.CaptureRequest]) -> float:
    """Return the skew of single captures that are asked for at one moment."""
    calls = [stub.Capture(request, timeout=CALL_S) for request in requests]
    times = [(await call).capture.acquisition_time.ToNanoseconds() for call in calls]
    return (max(times) - min(times)) / 1e9


async def measure(stub: "CameraServiceAsyncStub") -> bool:
    """Alternate the two, print the skews; return whether the groups' is within the budget."""
    reference = api.CaptureRequest.DELIVERY_REFERENCE
    requests = [api.CaptureRequest(camera=f"cam{n}", delivery=reference) for n in range(CAMERAS)]
    skews: dict[str, list[float]] = {"group": [], "one by one": []}
    took = []
    for number in range(GROUPS + WARM_UP):
        started = time.perf_counter()
        skew_s = await grouped(stub, requests)
        took_s = time.perf_counter() - started
        other_s = await apart(stub, requests)
        if number >= WARM_UP:
            skews["group"].append(skew_s)
            skews["one by one"].append(other_s)
            took.append(took_s)
    print(f"{GROUPS} groups of {CAMERAS} cameras, made ready in {PREPARE_S} s")
    for name, values in skews.items():
        p99 = statistics.quantiles(values, n=100)[98]
        print(
            f"skew, {name:12} p50 {statistics.median(values) * 1e3:6.2f} ms   "
            f"p99 {p99 * 1e3:6.2f} ms   max {max(values) * 1e3:6.2f} ms"
        )
    print(f"a group took p50 {statistics.median(took) * 1e3:.1f} ms")
    ratio = statistics.median(skews["one by one"]) / statistics.median(skews["group"])
    print(f"ratio of the skews' medians: {ratio:.0f}")
    return statistics.quantiles(skews["group"], n=100)[98] * 1e3 <= BUDGET_MS


async def main() -> None:
    """Serve the cameras and measure."""
    async with (
        live_servers.service(settings()) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        if not await measure(CameraServiceStub(channel)):
            sys.exit("over budget")


if __name__ == "__main__":
    asyncio.run(main())
