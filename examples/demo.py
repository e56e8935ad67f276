"""`make demo`: what camsvc does, on a simulated camera, in half a minute.

A still; two captures at once; a driver that hangs, and the recovery. Exits 0 when all went as it
should.
"""

import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_pb2 import Camera, RecoveryStatistics
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import channel_options, error_info

if TYPE_CHECKING:  # it is there for the type checker only
    from camapi.v1.camera_service_pb2_grpc import CameraServiceAsyncStub

SETTINGS = """\
[service]
metrics_listen = ""

[[cameras]]
id = "demo"
driver = "simulated"
width_px = 1920
height_px = 1080
capture_duration_s = 0.4
attempt_timeout_s = 2
faults = [{ on = "capture", at = 4, kind = "hang_gil" }]
"""
OUTPUT = Path("demo-output")
START_S, CALL_S, STOP_S = 20, 30, 15


async def still(camera: "CameraServiceAsyncStub") -> None:
    """Take a picture and show what came back."""
    print("1. A still")
    started = time.monotonic()
    answer = await camera.Capture(api.CaptureRequest(camera="demo"), timeout=CALL_S)
    took_s = time.monotonic() - started
    image = answer.capture.image
    if hashlib.sha256(answer.image_data).hexdigest() != image.sha256:
        raise SystemExit("the picture's checksum is wrong")
    path = OUTPUT / f"{answer.capture.capture_id}.jpg"
    path.write_bytes(answer.image_data)
    shown = await camera.GetCamera(api.GetCameraRequest(camera="demo"), timeout=CALL_S)
    print(f"   {path}: {image.width_px} x {image.height_px}, {image.size_bytes:,} bytes")
    print(f"   in {took_s:.2f} s, opening the camera included;", end=" ")
    print(f"its state is {Camera.State.Name(shown.camera.state).removeprefix('STATE_')}\n")


async def two_at_once(address: str, camera: "CameraServiceAsyncStub") -> None:
    """Ask twice at the same time: without retries, one is refused; with them, both succeed."""
    print("2. Two captures at once")
    request = api.CaptureRequest(camera="demo")
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as plain:
        second = CameraServiceStub(plain)
        first = asyncio.ensure_future(camera.Capture(request, timeout=CALL_S))
        await capturing(camera)
        started = time.monotonic()
        try:
            await second.Capture(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            info = error_info(error)
        else:
            raise SystemExit("the second capture was not refused")
        wait_s = info.retry_delay_s or 0
        print(
            f"   the second is refused after {1000 * (time.monotonic() - started):.0f} ms:", end=" "
        )
        print(f"{info.reason}, come back in {wait_s:.2f} s")
        await asyncio.sleep(wait_s)
        await second.Capture(request, timeout=CALL_S)
        print(f"   it does, and has its picture {time.monotonic() - started:.2f} s", end=" ")
        print("after it asked first; the client's retry policy does this by itself\n")
        await first


async def capturing(camera: "CameraServiceAsyncStub") -> None:
    """Wait until the camera is taking a picture."""
    async with asyncio.timeout(CALL_S):
        while True:
            shown = await camera.GetCamera(api.GetCameraRequest(camera="demo"), timeout=CALL_S)
            if shown.camera.state == Camera.STATE_CAPTURING:
                return


async def hang(camera: "CameraServiceAsyncStub") -> None:
    """Meet the scripted hang: the same call succeeds at its second attempt."""
    print("3. The driver hangs and holds the interpreter's lock")
    started = time.monotonic()
    answer = await camera.Capture(api.CaptureRequest(camera="demo"), timeout=CALL_S)
    took_s = time.monotonic() - started
    if answer.capture.attempts != 2:
        raise SystemExit(f"the hang cost {answer.capture.attempts} attempts instead of 2")
    shown = await camera.GetCamera(api.GetCameraRequest(camera="demo"), timeout=CALL_S)
    (restart,) = (
        recovery
        for recovery in shown.camera.statistics.recoveries
        if recovery.rung == RecoveryStatistics.RUNG_RESTART
    )
    recovered_s = restart.last_duration.ToNanoseconds() / 1e9
    print("   the attempt is given up after 2 s, its worker killed, a warm one takes its place:")
    print(f"   the same call has its picture after {took_s:.2f} s,", end=" ")
    print(f"of which the recovery took {recovered_s * 1000:.0f} ms\n")


async def run(address: str) -> None:
    """Show the three."""
    async with grpc.aio.insecure_channel(address, options=channel_options()) as channel:
        camera = CameraServiceStub(channel)
        await still(camera)
        await two_at_once(address, camera)
        await hang(camera)


def main() -> None:
    """Start a service, show what it does, stop it."""
    OUTPUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "camsvc.toml"
        config.write_text(SETTINGS, encoding="utf-8")
        log_path = Path(folder) / "service.log"
        command = [sys.executable, "-m", "camsvc", "serve"]
        with log_path.open("wb") as log:
            service = subprocess.Popen(
                [
                    *(*command, "--config", str(config), "--listen", "127.0.0.1:0"),
                    *("--data-dir", str(Path(folder) / "data")),
                ],
                stderr=log,
            )
        try:
            address = serving_at(log_path, service)
            print(f"camsvc serves a simulated camera at {address}\n")
            asyncio.run(run(address))
        except BaseException:
            print(log_path.read_text(encoding="utf-8"), file=sys.stderr)
            raise
        finally:
            service.terminate()
            code = service.wait(STOP_S)
    print(f"The service has stopped with exit code {code}. Try it yourself: make serve")
    sys.exit(code)


def serving_at(log_path: Path, service: "subprocess.Popen[bytes]") -> str:
    """Return the address the service says it serves at."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and service.poll() is None:
        for line in log_path.read_text(encoding="utf-8").splitlines():
            if '"serving"' in line:
                return str(json.loads(line)["listen"])
        time.sleep(0.02)
    raise SystemExit("the service did not start")


if __name__ == "__main__":
    main()
