"""What hangs with the GIL held is ended all the same, and says where."""

import signal
import subprocess
import sys

_HANG = """
import ctypes
from camsvc.drivers.picamera2.alarm import bounded

def hang():
    ctypes.PyDLL(None).sleep(30)  # it keeps the GIL

with bounded(5):
    pass
with bounded(0.2):
    hang()
"""


def test_a_call_that_hangs_with_the_gil_held_ends_its_process() -> None:
    command = [sys.executable, "-c", _HANG]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    assert ended.returncode == -signal.SIGALRM
    assert "in hang" in ended.stderr


def test_a_call_that_returns_in_time_is_not_ended_later() -> None:
    code = (
        "import time\nfrom camsvc.drivers.picamera2.alarm import bounded\n"
        "with bounded(0.1): pass\ntime.sleep(0.3)"
    )
    subprocess.run([sys.executable, "-c", code], timeout=20, check=True)
