"""Whatever bytes requests consist of, each is answered by a code that says what is wrong with it.

A million of them: ENDURANCE=full; ENDURANCE_SEED repeats those of an earlier run.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from camapi.v1 import camera_service_pb2 as api

from tests.support import endurance
from tests.support.history import QUICK
from tests.support.scenes import camera
from tests.support.service import Service
from tests.support.waiting import finished, until

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

REQUESTS = 1_000_000 if endurance.FULL else 20_000
ROUNDS = 5
MIB = 2**20
GROWTH = 32 * MIB


async def sent(service: Service, requests: int, seed: int) -> Counter[str]:
    """Send fuzzed requests from a process of their own; return the codes of the answers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.fuzz", service.address, str(requests), str(seed)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, out, err = await finished(process, within_s=endurance.TIMEOUT_S)
    print(err)
    assert code == 0, err
    return Counter(json.loads(out))


async def test_every_answer_says_what_is_wrong_and_nothing_is_left_behind(tmp_path: Path) -> None:
    rng = endurance.chance()
    async with Service(tmp_path, camera(**QUICK, max_viewers=4)) as service:
        await service.capture()
        codes = await sent(service, REQUESTS // ROUNDS, rng.getrandbits(32))
        descriptors, memory = service.ps.num_fds(), service.ps.memory_info().rss
        for _ in range(ROUNDS - 1):
            codes += await sent(service, REQUESTS // ROUNDS, rng.getrandbits(32))
        print(codes)
        assert codes.total() == ROUNDS * (REQUESTS // ROUNDS)
        assert not codes["INTERNAL"] + codes["UNKNOWN"]
        assert codes["INVALID_ARGUMENT"] > 0.2 * codes.total()
        assert codes["OK"] > 0.02 * codes.total()

        async def as_before() -> bool:
            return service.ps.num_fds() <= descriptors + 4

        await until(as_before, "descriptors are free again", within_s=20.0)
        grown = service.ps.memory_info().rss - memory
        assert grown <= GROWTH, f"{grown / MIB:.0f} MiB"
        request = api.CaptureRequest(camera="sim0", busy_policy=api.CaptureRequest.BUSY_POLICY_WAIT)
        assert await service.stub.Capture(request, timeout=60)
