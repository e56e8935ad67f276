"""What a capture costs beyond the driver: against a bare gRPC call that sends the same bytes.

Both servers run in processes of their own, the calls alternate, so that noise meets both.

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

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub

ROOT = Path(__file__).resolve().parents[1]
SIZE_BYTES = 2_000_000
CALLS, WARM_UP = 300, 30
START_S, CALL_S = 20, 30
BUDGET_MS = 5.0
METHOD = "/bench.Bare/Get"


async def bare_server() -> None:
    """Serve `SIZE_BYTES` bytes from a grpc.aio handler that does nothing else."""
    data = os.urandom(SIZE_BYTES)

    async def get(request: bytes, context: object) -> bytes:
        return data

    handlers = {"Get": grpc.unary_unary_rpc_method_handler(get)}
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


async def measure(camera: CameraServiceStub, bare: grpc.aio.UnaryUnaryMultiCallable) -> None:
    """Alternate the two calls and print what came out."""
    overheads, rpcs, bares, sizes = [], [], [], set()
    for number in range(CALLS + WARM_UP):
        started = time.perf_counter()
        request = api.CaptureRequest(camera="bench", max_inline_bytes=64 * 2**20)
        answer = await camera.Capture(request, timeout=CALL_S)
        rpc_s = time.perf_counter() - started
        started = time.perf_counter()
        await bare(b"", timeout=CALL_S)
        bare_s = time.perf_counter() - started
        if number >= WARM_UP:
            driver_s = answer.capture.timing.driver.ToNanoseconds() / 1e9
            overheads.append(rpc_s - driver_s)
            rpcs.append(rpc_s)
            bares.append(bare_s)
            sizes.add(len(answer.image_data))
    print(f"{CALLS} captures of {sizes.pop():,} bytes inline, each beside a bare gRPC call")
    print(f"{'':32}{'p50':>9}{'p99':>9}")
    for name, values in (
        ("capture, RPC minus driver", overheads),
        ("capture, whole RPC", rpcs),
        ("bare grpc.aio, same bytes", bares),
    ):
        p50, p99 = statistics.median(values) * 1e3, statistics.quantiles(values, n=100)[98] * 1e3
        print(f"{name:32}{p50:6.2f} ms{p99:6.2f} ms")
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
            *("--listen", "127.0.0.1:0"),
            stderr=asyncio.subprocess.PIPE,
        )
        peer = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "bare", stdout=asyncio.subprocess.PIPE
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
                await measure(CameraServiceStub(ours), theirs.unary_unary(METHOD))
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
