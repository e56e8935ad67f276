"""Prometheus metrics, scraped from a real service."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
from camapi.v1 import camera_service_pb2 as api
from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import CALL_S, Service

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
[[cameras]]
id = "sim0"
driver = "simulated"
capture_duration_s = 0.02
attempt_timeout_s = 0.5
faults = [{ on = "capture", at = 2, kind = "hang" }]
[[cameras]]
id = "sim1"
driver = "simulated"
"""
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(service: Service) -> Samples:
    address = (await service.logged("metrics served"))["listen"]

    def get() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=CALL_S) as response:
            return str(response.read().decode())

    text = await asyncio.to_thread(get)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset({"camera": "sim0", **labels}.items())]


async def test_what_happened_can_be_read_from_the_metrics(tmp_path: Path) -> None:
    async with Service(tmp_path, SETTINGS) as service:
        for _ in range(3):
            await service.capture()
        viewer = service.stub.LiveView(api.LiveViewRequest(camera="sim0"), timeout=CALL_S)
        frames = 0
        async for response in viewer:
            frames += response.WhichOneof("payload") == "frame"
            if frames == 5:
                break
        samples = await scrape(service)
        viewer.cancel()

    assert of(samples, "camsvc_captures_total", result="succeeded") == 3
    assert of(samples, "camsvc_captures_total", result="failed") == 0
    assert of(samples, "camsvc_capture_seconds_total") >= 0.5, "one of them met the hang"
    assert of(samples, "camsvc_recoveries_total", rung="RESTART") == 1
    assert of(samples, "camsvc_recovery_seconds_total", rung="RESTART") > 0
    assert of(samples, "camsvc_worker_starts_total") == 2
    assert of(samples, "camsvc_camera_state", state="READY") == 1
    assert of(samples, "camsvc_camera_state", state="FAULTED") == 0
    assert of(samples, "camsvc_live_viewers") == 1
    assert of(samples, "camsvc_live_variants") == 1
    assert of(samples, "camsvc_live_frames_total") >= 5
    assert of(samples, "camsvc_live_frames_sent_total") >= 5
    assert of(samples, "camsvc_live_encode_seconds_total") > 0
    assert samples["camsvc_worker_starts_total", frozenset({("camera", "sim1")})] == 0


async def test_they_are_for_names_of_this_machine_alone(tmp_path: Path) -> None:
    """A website that has its own name lead here reads nothing."""
    async with Service(tmp_path, SETTINGS) as service:
        host, _, port = (await service.logged("metrics served"))["listen"].rpartition(":")

        def status(name: str) -> int:
            connection = http.client.HTTPConnection(host, int(port), timeout=CALL_S)
            with contextlib.closing(connection):
                connection.request("GET", "/metrics", headers={"Host": name})
                return connection.getresponse().status

        for name in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}"):
            assert await asyncio.to_thread(status, name) == 200
        for name in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "[", ""):
            assert await asyncio.to_thread(status, name) in (400, 403)


async def test_connections_that_ask_for_nothing_are_ended(tmp_path: Path) -> None:
    async with Service(tmp_path, SETTINGS) as service, contextlib.AsyncExitStack() as stack:
        host, _, port = (await service.logged("metrics served"))["listen"].rpartition(":")
        readers = []
        for begun in (b"", b"GET /metrics HTTP/1.1\r\nHost: "):
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            writer.write(begun)
            readers.append(reader)
        async with asyncio.timeout(CALL_S):
            assert [await reader.read() for reader in readers] == [b"", b""]


async def test_the_dashboard_asks_for_metrics_that_there_are(tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:camsvc|process)_\w+", target["expr"])
    }
    async with Service(tmp_path, SETTINGS) as service:
        there = {name for name, _ in await scrape(service)}
    assert asked <= there
    ours = {name for name in there if name.startswith("camsvc_")}
    assert ours - asked == set(), "a metric that the dashboard does not show"


async def test_cameras_are_served_also_where_the_metrics_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("CAMSVC_SERVICE__METRICS_LISTEN", f"127.0.0.1:{port}")
        async with Service(tmp_path, SETTINGS) as service:
            entry = await service.logged("metrics not served")
            assert entry["listen"].endswith(str(port))
            assert (await service.capture()).image_data


@pytest.mark.parametrize("listen", ["here", "127.0.0.1:70000"])
async def test_a_wrong_metrics_address_is_refused(tmp_path: Path, listen: str) -> None:
    config = tmp_path / "camsvc.toml"
    config.write_text(f'[service]\nmetrics_listen = "{listen}"\n' + SETTINGS)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "camsvc", "check-config", "--config", str(config)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, text = await process.communicate()
    assert process.returncode == 2
    assert f"key 'metrics_listen': '{listen}': allowed: HOST:PORT".encode() in text
