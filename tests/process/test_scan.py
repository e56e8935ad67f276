"""A scan with two cameras of twelve megapixels, nobody at hand, and faults on the way.

The scan in full, of 144 points: ENDURANCE=full.
"""

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from camapi.v1 import camera_pb2 as pb

from tests.conftest import StartService
from tests.support import endurance
from tests.support.ledger import Ledger
from tests.support.scenes import camera, fault
from tests.support.timing import Timing

pytestmark = pytest.mark.timeout(endurance.TIMEOUT_S)

POINTS = endurance.times(144)
HANG, CRASH, ERROR = (3, 70, 120) if POINTS >= 144 else (3, 7, 12)
WARM_UP = POINTS // 3
CAMERAS = ("left", "right")
TWELVE_MP = {"width_px": 4000, "height_px": 3000}
CAPTURE_S = 1.0
"""As a camera of this size takes. Two cores paint, encode and store both pictures beside it."""
ATTEMPT_S = 4.0

OVERHEAD = 1.05
GROWTH_BYTES = 10e6


def driver_s(capture: pb.Capture) -> float:
    return capture.timing.driver.ToNanoseconds() / 1e9


@pytest.mark.timed
async def test_a_scan_with_faults_completes_unattended(
    start_service: StartService, tmp_path: Path
) -> None:
    """Each picture once; in the cameras' own time and that of the recoveries, and hardly more."""
    common: dict[str, Any] = {
        **TWELVE_MP,
        "capture_duration_s": CAPTURE_S,
        "attempt_timeout_s": ATTEMPT_S,
        "open_at_start": True,
    }
    # A hung call and its next attempt are two: the error strikes one call later than its point.
    left = [fault("hang", at=HANG), fault("error", at=ERROR + 1)]
    right = [fault("crash", at=CRASH)]
    service = await start_service(
        camera("left", faults=left, **common) + camera("right", faults=right, **common)
    )
    ledger = Ledger(tmp_path / "service1", endurance.chance())
    for name in CAMERAS:
        await service.wait_for_state(pb.Camera.STATE_READY, name)
    rss, own_s, recoveries_s = 0, [], 0.0
    attempts: Counter[int] = Counter()
    took = Timing()
    for point in range(1, POINTS + 1):
        requests = [ledger.request(name) for name in CAMERAS]
        pictures = await ledger.group(service, requests)
        assert len(pictures) == len(CAMERAS), f"point {point}"
        for picture in pictures:
            attempts[point] += picture.attempts - 1
        own_s.append(max(map(driver_s, pictures)))
        if point == WARM_UP:
            rss = service.ps.memory_info().rss
    took.stop()
    growth = service.ps.memory_info().rss - rss

    assert +attempts == Counter({HANG: 1, CRASH: 1, ERROR: 1}), "each fault cost one attempt"
    for name in CAMERAS:
        shown = (await service.camera(name)).camera.statistics
        assert (shown.captures_succeeded, shown.captures_failed) == (POINTS, 0)
        recoveries_s += sum(r.last_duration.ToNanoseconds() / 1e9 for r in shown.recoveries)
    assert len(ledger.acknowledged) == len(CAMERAS) * POINTS
    await ledger.check(service)

    # What failed is in the driver's time of its point; beside it stands what a good one takes.
    good_s = statistics.median(own_s)
    failed_s = sum(s - good_s for p, s in enumerate(own_s, 1) if attempts[p])
    driver_total_s = sum(own_s) - failed_s
    print(f"{POINTS} points: {took}; drivers' own {driver_total_s:.1f} s,")
    print(f"failed attempts and recoveries {failed_s:.1f} s, {recoveries_s:.2f} s of it rungs")
    print(f"ratio {(took.s - failed_s) / driver_total_s:.4f}, RSS grown by {growth / 1e6:.2f} MB")
    assert failed_s - took.waited_s < ATTEMPT_S + 2 * good_s + recoveries_s, "no more than stated"
    took.assert_within(OVERHEAD * driver_total_s + failed_s)
    assert growth < GROWTH_BYTES
