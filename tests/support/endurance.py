"""How much an endurance test does: what fits a normal run; with ENDURANCE=fifth, as in CI, at least
a fifth of all; with ENDURANCE=full all."""

import os
import random
import secrets

_LENGTH = os.environ.get("ENDURANCE", "short")
FULL = _LENGTH == "full"
TIMEOUT_S = {"short": 120, "fifth": 600, "full": 3600}[_LENGTH]
"""For `pytest.mark.timeout`."""


def times(short: int, full: int) -> int:
    """Return how often something is done in this run; ENDURANCE_TIMES says it for a trial."""
    length = {"short": short, "fifth": max(short, full // 5), "full": full}[_LENGTH]
    return int(os.environ.get("ENDURANCE_TIMES", length))


def chance() -> random.Random:
    """Return this test's random numbers; ENDURANCE_SEED repeats those of an earlier run."""
    seed = int(os.environ.get("ENDURANCE_SEED", secrets.randbits(32)))
    print(f"ENDURANCE_SEED={seed}")
    return random.Random(seed)
