"""A driver that says its password wherever it can say anything."""

import base64
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.model.errors import DriverError
from camsvc.model.values import Control, Device, DeviceInfo, Finding, Frame, Shot


class IndiscreetCamera(Driver):
    """Fails by its first stills, each in another way, and ends with the third."""

    name = "indiscreet"

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:
        self._url: str = settings["address"]
        self._state = state
        password = unquote(urlsplit(self._url).password or "")
        basic = base64.b64encode(f"user:{password}".encode()).decode()
        forms = (self._url, password, quote(password), repr(password), basic)
        self._said = " and ".join((*forms, settings["pin"], settings["token"]))
        print(f"opening {self._said}", file=sys.stderr, flush=True)

    def open(self) -> DeviceInfo:
        details = {"address": self._url, self._url: "address"}
        warnings = [f"the password of {self._url} is weak"]
        return DeviceInfo(f"at {self._url}", ["JPEG"], details=details, warnings=warnings)

    def controls(self) -> list[Control]:
        return [Control("address", "string", self._url, description=self._url)]

    def capture(self, shot: Shot) -> Frame:
        count = len(self._state.value) + 1
        self._state.value = b"." * count
        self._state.save(self._state.value)
        match count:
            case 1:
                raise DriverError(f"no answer from {self._url}")
            case 2:
                raise RuntimeError(self._said)
            case 3:
                print(f"it is over: {self._said}", file=sys.stderr, flush=True)
                os._exit(1)
        return Frame(
            time.time_ns(),
            pixels=np.zeros((48, 64, 3), np.uint8),
            warnings=[f"taken from {self._url}"],
        )

    def close(self) -> None:
        pass

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, Any]] = ()) -> list[Device]:
        url = configured[0]["address"]
        return [Device("there", f"at {url}", url, url, {"address": url})]

    @classmethod
    def diagnose(cls, settings: Mapping[str, Any]) -> list[Finding]:
        return [Finding(False, f"no answer from {settings['address']}", settings["address"])]
