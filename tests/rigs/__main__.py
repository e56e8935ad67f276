"""Make all rigs that can be made here, side by side, so that no test waits for it.

python -m tests.rigs
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.rigs.gphoto2 import rig as gphoto2
from tests.rigs.picamera2 import build as picamera2
from tests.rigs.pictures import rig as pictures
from tests.rigs.rtsp import rig as rtsp
from tests.rigs.running import RigMissing, reason
from tests.rigs.v4l2 import packages as v4l2
from tests.support import left_out


def made(make: Callable[[], Path]) -> bool:
    """Make a rig; say where it is and how long it took, or why it cannot be made."""
    started = time.monotonic()
    try:
        print(f"{make()} ({time.monotonic() - started:.0f} s)")
    except RigMissing as why:
        print(reason(why), file=sys.stderr)
        return False
    return True


_RIGS = (gphoto2.compiled, picamera2.build, rtsp.built, v4l2.unpacked, pictures.fetched)

if __name__ == "__main__":
    with ThreadPoolExecutor() as pool:
        all_made = all(list(pool.map(made, _RIGS)))
    sys.exit(not all_made and left_out.refused())
