"""A driver under another interpreter, called as if it were here: for libraries that are there only.

Run by that interpreter, this file is the other end.
"""

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camsvc.drivers.base import Driver, DriverState
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Finding, Frame, Shot

if TYPE_CHECKING:
    from camsvc.model.options import Launch

_ROOT = Path(__file__).parents[2]


def driver_class(launch: "Launch") -> type[Driver]:
    """Return a class whose instances each have a process with the driver of `launch`."""
    with contextlib.closing(_Process(launch)) as process:
        name = process.call("class", "__getattribute__", "name")
    return type("RemoteDriver", (_RemoteDriver,), {"launch": launch, "name": name})


class _RemoteDriver(Driver):
    launch: "Launch"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._process = _Process(self.launch)
        self._process.call("make", "", dict(settings))

    def __del__(self) -> None:
        self._process.close()

    def open(self) -> DeviceInfo:
        info: DeviceInfo = self._process.call("driver", "open")
        return info

    def prepare(self, shot: Shot) -> None:
        self._process.call("driver", "prepare", shot)

    def capture(self, shot: Shot) -> Frame:
        frame: Frame = self._process.call("driver", "capture", shot)
        return frame

    def read(self) -> Frame | None:
        frame: Frame | None = self._process.call("driver", "read")
        return frame

    def start_live(self) -> None:
        self._process.call("driver", "start_live")

    def stop_live(self) -> None:
        self._process.call("driver", "stop_live")

    def controls(self) -> list[Control]:
        controls: list[Control] = self._process.call("driver", "controls")
        return controls

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        self._process.call("driver", "set_controls", dict(values))

    def health_check(self) -> DeviceInfo | None:
        changed: DeviceInfo | None = self._process.call("driver", "health_check")
        return changed

    def recover(self) -> None:
        self._process.call("driver", "recover")

    def close(self) -> None:
        self._process.call("driver", "close")
        self._process.close()

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, object]] = ()) -> list[Device]:
        with contextlib.closing(_Process(cls.launch)) as process:
            devices: list[Device] = process.call("class", "discover", configured)
        return devices

    @classmethod
    def diagnose(cls, settings: Mapping[str, object]) -> list[Finding]:
        with contextlib.closing(_Process(cls.launch)) as process:
            findings: list[Finding] = process.call("class", "diagnose", dict(settings))
        return findings


class _Process:
    """The other interpreter, with the driver's class loaded; one call at a time."""

    def __init__(self, launch: "Launch") -> None:
        self._process = subprocess.Popen(
            [launch.python, __file__, launch.driver],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict(launch.env), "PYTHONPATH": str(_ROOT)},
        )

    def call(self, of: str, method: str, *arguments: object) -> Any:
        """Call a method of the driver ("driver") or of its class ("class"); or "make" a driver."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((of, method, arguments), self._process.stdin)
        self._process.stdin.flush()
        result, error = pickle.load(self._process.stdout)
        if error:
            raise AssertionError(f"{of} {method}: {error}")
        return result

    def close(self) -> None:
        """End it; not politely, as the driver's own `close` is what should be polite."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _serve(path: str) -> None:
    module, _, name = path.partition(":")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    found = getattr(importlib.import_module(module), name)
    driver = None
    while True:
        try:
            of, method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        result, error = None, ""
        try:
            if of == "make":
                driver = found(arguments[0], DriverState())
            elif method == "__getattribute__":
                result = getattr(found, arguments[0])
            else:
                result = getattr(driver if of == "driver" else found, method)(*arguments)
        except Exception as failure:
            error = repr(failure)
        pickle.dump((result, error), answers)
        answers.flush()


if __name__ == "__main__":
    sys.path.pop(0)
    _serve(sys.argv[1])
