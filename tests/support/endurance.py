"""How much an endurance test does: what fits a normal run, or in full with ENDURANCE=full."""

import os
import random
import secrets

FULL = os.environ.get("ENDURANCE") == "full"
TIMEOUT_S = 3600 if FULL else 120
"""For `pytest.mark.timeout`."""


def times(short: int, full: int) -> int:
    """Return how often something is done in this run; ENDURANCE_TIMES says it for a trial."""
    return int(os.environ.get("ENDURANCE_TIMES", full if FULL else short))


def chance() -> random.Random:
    """Return this test's random numbers; ENDURANCE_SEED repeats those of an earlier run."""
    seed = int(os.environ.get("ENDURANCE_SEED", secrets.randbits(32)))
    print(f"ENDURANCE_SEED={seed}")
    return random.Random(seed)
