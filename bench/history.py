"""ListCaptures among many captures, by each filter, against a call that reads nothing from disk.

make bench-history
"""

import asyncio
import functools
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from bench import live_servers
from camsvc.model.records import CaptureRecord, CaptureState, Failure
from camsvc.storage import queries as rows
from camsvc.storage.database import Database

if TYPE_CHECKING:  # it is there for the type checker only
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub

CAPTURES, CAMERAS, CALLS, WARM_UP = 100_000, 4, 100, 5
CALL_S = 30
BUDGET_MS = 10.0
_FIRST_NS = 1_700_000_000 * 10**9
_EVERY_NS = 10**9


def _add(records: Sequence[CaptureRecord], db: sqlite3.Connection) -> None:
    for record in records:
        rows.add_capture(db, record)


def _record(number: int) -> CaptureRecord:
    """Return the capture of a number: one of a thousand failed, one of ten thousand is rare."""
    failed = number % 1000 == 0
    return CaptureRecord(
        capture_id=str(uuid.UUID(int=number)),
        camera=f"cam{number % CAMERAS}",
        create_time_ns=_FIRST_NS + number * _EVERY_NS,
        # Nothing but FAILED and CANCELLED has no picture; the rest would be put right at start.
        state=CaptureState.FAILED if failed else CaptureState.CANCELLED,
        labels={"scan": f"s{number // 300}", "project": "bench"}
        | ({"rare": "yes"} if number % 10_000 == 1 else {}),
        failure=Failure("CAMERA_UNAVAILABLE", "camera 'cam0' was not there", {"camera": "cam0"}),
    )


async def fill(folder: Path) -> None:
    """Make a journal of `CAPTURES` captures."""
    path = folder / "journal.sqlite3"
    journal = await asyncio.to_thread(Database, path, before_commit=lambda: None)
    for start in range(0, CAPTURES, 5000):
        records = [_record(number) for number in range(start, start + 5000)]
        await journal.write(functools.partial(_add, records))
    await journal.close()


def filters() -> dict[str, api.ListCapturesRequest]:
    """Return the requests to measure, by what they filter."""
    middle = Timestamp()
    middle.FromNanoseconds(_FIRST_NS + CAPTURES // 2 * _EVERY_NS)
    request = api.ListCapturesRequest
    return {
        "none": request(),
        "camera": request(camera="cam1"),
        "label, on all": request(labels={"project": "bench"}),
        "label, of one scan": request(labels={"scan": "s100"}),
        "label, one of 10,000": request(labels={"rare": "yes"}),
        "label, none has it": request(labels={"scan": "no"}),
        "two labels": request(labels={"project": "bench", "rare": "yes"}),
        "camera and label": request(camera="cam1", labels={"rare": "yes"}),
        "time, the older half": request(end_time=middle),
        "time, the newer half": request(start_time=middle),
        "state, one of 1,000": request(states=[pb.Capture.STATE_FAILED]),
        "two states": request(states=[pb.Capture.STATE_FAILED, pb.Capture.STATE_SUCCEEDED]),
        "camera and state": request(camera="cam0", states=[pb.Capture.STATE_FAILED]),
    }


async def measure(camera: "CameraServiceAsyncStub") -> bool:
    """Print the time of each filter; return whether all are within the budget."""
    bare = await _times(
        functools.partial(camera.ListCameras, api.ListCamerasRequest(), timeout=CALL_S)
    )
    print(f"pages of 50 among {CAPTURES:,} captures, {CALLS} calls each, as a client sees them")
    print(f"{'ListCameras':28}{_shown(bare)}")
    well = True
    for name, request in filters().items():
        request.page_size = 50
        times = await _times(functools.partial(camera.ListCaptures, request, timeout=CALL_S))
        ratio = statistics.median(times) / statistics.median(bare)
        print(f"{name:28}{_shown(times)}   {ratio:4.1f} x ListCameras")
        well = well and statistics.median(times) * 1e3 <= BUDGET_MS
    return well


async def _times(call: Callable[[], Awaitable[object]]) -> list[float]:
    times = []
    for number in range(CALLS + WARM_UP):
        started = time.perf_counter()
        await call()
        if number >= WARM_UP:
            times.append(time.perf_counter() - started)
    return times


def _shown(times: list[float]) -> str:
    p99 = statistics.quantiles(times, n=100)[98]
    return f"p50 {statistics.median(times) * 1e3:6.2f} ms   p99 {p99 * 1e3:6.2f} ms"


async def main() -> None:
    """Fill a journal, serve it, measure."""
    cameras = "\n".join(f'[[cameras]]\nid = "cam{n}"\ndriver = "simulated"' for n in range(CAMERAS))
    with tempfile.TemporaryDirectory() as folder:
        await fill(Path(folder))
        async with (
            live_servers.service(cameras, data_dir=Path(folder)) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            if not await measure(CameraServiceStub(channel)):
                sys.exit("over budget")


if __name__ == "__main__":
    asyncio.run(main())
