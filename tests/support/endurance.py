"""How much an endurance test does: a part in a normal run, or all with ENDURANCE=full."""

import os
import random
import secrets

FULL = os.environ.get("ENDURANCE") == "full"
TIMEOUT_S = 3600 if FULL else 300
"""For `pytest.mark.timeout`."""


def times(full: int, *, part: int = 5) -> int:
    """Return how often, or for how long, something is done: in a normal run one `part` of it.

    ENDURANCE_TIMES says it for a trial.
    """
    return int(os.environ.get("ENDURANCE_TIMES", full if FULL else full // part))


def chance() -> random.Random:
    """Return this test's random numbers; ENDURANCE_SEED repeats those of an earlier run."""
    seed = int(os.environ.get("ENDURANCE_SEED", secrets.randbits(32)))
    print(f"ENDURANCE_SEED={seed}")
    return random.Random(seed)
