"""Makes the service slow on purpose, so that the tests of promised times are seen to fail.

`START_S`: it begins so late. `LOOP_S`: from when the file `SLOW_FROM` is there, each turn of its
event loop lasts so much longer.
"""

import os
import sys
import time
from asyncio import base_events

if "serve" in sys.orig_argv:
    time.sleep(float(os.environ.get("START_S", "0")))
    _slow_from = os.environ.get("SLOW_FROM", "")
    _turn = base_events.BaseEventLoop._run_once  # type: ignore[attr-defined]  # noqa: SLF001 - no public one

    def _slow_turn(loop: base_events.BaseEventLoop) -> None:
        if os.path.exists(_slow_from):
            time.sleep(float(os.environ["LOOP_S"]))
        _turn(loop)

    base_events.BaseEventLoop._run_once = _slow_turn  # type: ignore[attr-defined]  # noqa: SLF001
