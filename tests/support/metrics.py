"""What a service says of itself in its metrics."""

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import CALL_S, Service


async def metric(service: Service, name: str, **labels: str) -> float:
    """Return a metric: the first with these labels."""
    address = (await service.logged("metrics served"))["listen"]

    def get() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=CALL_S) as response:
            return str(response.read().decode())

    for family in text_string_to_metric_families(await asyncio.to_thread(get)):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    raise AssertionError(f"there is no metric {name} of {labels}")
