"""What a capture costs beyond its driver and the disk's syncs.

Beside each capture, in the same run, a bare gRPC call that sends the same bytes, and the syncs that
keeping such a picture takes (file, folder, journal) on the same disk with nothing around them: so
that noise meets all of them.

    make bench
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

from bench.disk import BareDisk

if TYPE_CHECKING:  # it is there for the type checker only
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub

ROOT = Path(__file__).resolve().parents[1]
SIZE_BYTES = 2_000_000
CALLS, WARM_UP = 300, 30
START_S, CALL_S = 20, 30
BUDGET_MS = 8.0
METHOD = "/bench.Bare/Get"


async def bare_server() -> None:
    """Serve `SIZE_BYTES` bytes from a grpc.aio handler that does nothing else."""
    data = os.urandom(SIZE_BYTES)

    async def get(request: bytes, context: object) -> bytes:
        return data

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Get": grpc.unary_unary_rpc_method_handler(get)
    }
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bare", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


def settings() -> str:
    """Return the service's settings: the camera of `bench.drivers`."""
    return f"""
[service]
log_format = "json"
metrics_listen = ""
[[cameras]]
id = "bench"
driver = "bench.drivers:ReadyJpeg"
env = {{ PYTHONPATH = "{ROOT}" }}
options = {{ size_bytes = {SIZE_BYTES} }}
"""


async def measure(
    camera: "CameraServiceAsyncStub",
    bare: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]",
    disk: BareDisk,
) -> None:
    """Alternate the three and print what came out."""
    rpcs, drivers, stores, bares, syncs, sizes = [], [], [], [], [], set()
    for number in range(CALLS + WARM_UP):
        started = time.perf_counter()
        request = api.CaptureRequest(camera="bench", max_inline_bytes=64 * 2**20)
        answer = await camera.Capture(request, timeout=CALL_S)
        rpc_s = time.perf_counter() - started
        started = time.perf_counter()
        await bare(b"", timeout=CALL_S)
        bare_s = time.perf_counter() - started
        sync_s = disk.sync_s()
        if number >= WARM_UP:
            timing = answer.capture.timing
            rpcs.append(rpc_s)
            drivers.append(rpc_s - timing.driver.ToNanoseconds() / 1e9)
            stores.append(timing.store.ToNanoseconds() / 1e9)
            bares.append(bare_s)
            syncs.append(sync_s)
            sizes.add(len(answer.image_data))
    overheads = [driver_s - sync_s for driver_s, sync_s in zip(drivers, syncs, strict=True)]
    print(f"{CALLS} captures of {sizes.pop():,} bytes inline")
    print(f"{'':40}{'p50':>9}{'p99':>9}")
    for name, values in (
        ("capture, whole RPC", rpcs),
        ("capture, RPC minus driver", drivers),
        ("of that, its own timing.store", stores),
        ("bare syncs of file, folder and journal", syncs),
        ("capture, RPC minus driver minus syncs", overheads),
        ("bare grpc.aio, same bytes", bares),
    ):
        p50, p99 = statistics.median(values) * 1e3, statistics.quantiles(values, n=100)[98] * 1e3
        print(f"{name:40}{p50:6.2f} ms{p99:6.2f} ms")
    p50 = statistics.median(overheads)
    print(f"ratio of the overhead to the bare call: {p50 / statistics.median(bares):.2f}")
    print(f"overhead p50 {p50 * 1e3:.2f} ms, budget {BUDGET_MS} ms")
    if p50 * 1e3 > BUDGET_MS:
        sys.exit("over budget")


async def main() -> None:
    """Start both servers, measure, stop them."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "camsvc.toml"
        config.write_text(settings(), encoding="utf-8")
        service = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "camsvc", "serve", "--config", str(config)),
            *("--listen", "127.0.0.1:0", "--data-dir", f"{folder}/data"),
            stderr=asyncio.subprocess.PIPE,
        )
        peer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.capture", "bare"), stdout=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(START_S):
                address = await serving_at(service)
                assert peer.stdout is not None
                port = int(await peer.stdout.readline())
            options = [("grpc.max_receive_message_length", -1)]
            async with (
                grpc.aio.insecure_channel(address, options=options) as ours,
                grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as theirs,
            ):
                disk = BareDisk(Path(folder), SIZE_BYTES)
                await measure(CameraServiceStub(ours), theirs.unary_unary(METHOD), disk)
        finally:
            for process in (service, peer):
                process.terminate()
                await process.wait()


async def serving_at(service: asyncio.subprocess.Process) -> str:
    """Return the address from the service's log."""
    assert service.stderr is not None
    async for line in service.stderr:
        entry = json.loads(line)
        if entry["event"] == "serving":
            return str(entry["listen"])
    raise SystemExit("the service did not start")


if __name__ == "__main__":
    asyncio.run(bare_server() if sys.argv[1:] == ["bare"] else main())
