"""The interface of a camera driver.

A driver overrides what its camera can do; what is not overridden is refused as UNSUPPORTED.
Every method is called on the worker's main thread, one at a time. A method may block: the
service's deadline kills the worker. Failures leave a driver as

- `DriverError`: temporary; recovery takes over (and any other exception likewise),
- `DeviceAway`: it only has to be waited for: unplugged, silent, or (`DeviceInUse`) held by another
  program; the service tries every second to open it in the same worker,
- `DriverFault`: permanent, with a message that says what an operator must do,
- `Unsupported`, `InvalidRequest`: the request's fault; the camera is healthy,
- `StorageFull`, `StorageUnavailable`, of `capture` alone: the camera's own card takes no picture,
  until a person has changed that; the camera is healthy.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from camsvc.model.errors import Unsupported
from camsvc.model.values import Control, ControlValue, Device, DeviceInfo, Finding, Frame, Shot


@dataclass(slots=True)
class DriverState:
    """Up to 4 KiB that a driver keeps across restarts of its worker.

    `value` is what the last worker saved; `save` replaces it for the next one.
    """

    value: bytes = b""
    save: Callable[[bytes], None] = field(default=lambda _: None)


class Driver(ABC):
    """One camera. Order of calls: `open`, then any of the others, `close` last.

    After a failure recovery calls `recover`, then `close` and a new driver's `open`.
    """

    name: ClassVar[str]

    interrupt: threading.Event = threading.Event()
    """Set by the worker while a command waits for `read` to return: a still must not wait for a
    live frame."""

    progress: Callable[[int], None] = staticmethod(lambda percent: None)
    """Set by the worker; to be called during `capture`, from any thread, with how far it is: 0 to
    100. Cheap, so that it may be called as often as the camera says something. Where the number has
    grown, the driver does not hang: the attempt's time-out starts again."""

    def __init__(self, settings: Mapping[str, Any], state: DriverState) -> None:  # noqa: B027
        """Keep `settings`. Nothing may block or fail here.

        They are the keys of the driver's settings model, each with its value: the driver has no
        defaults of its own. Of a driver without a model, they are its `options` as they stand.
        """

    @abstractmethod
    def open(self) -> DeviceInfo:
        """Open the device and return what it is and can do."""

    def prepare(self, shot: Shot) -> None:  # noqa: B027 - most cameras are always ready
        """Do what has to come before the trigger, so that `capture` can release it at once.

        Called before `capture` where several cameras take their pictures together, with the same
        shot, whose controls are set already. Anything else may come instead; the next `capture`
        may be one without it. Default: nothing.
        """

    @abstractmethod
    def capture(self, shot: Shot) -> Frame:
        """Take one still, begun after this call.

        What it returns, and `read` does, is checked: see `Frame`.

        Scaling, `quality_percent` and conversion are done by the worker: a driver uses
        `shot.format` only to deliver a better original (a RAW file, which then has to be the
        frame's `encoded`). `shot.controls` are set already.
        """

    def read(self) -> Frame | None:
        """Wait for the next live frame and return it. Overridden: the camera has live view.

        Return None where the driver can stop waiting, and did so because `interrupt` was set.
        Called repeatedly between `start_live` and `stop_live`, at the camera's own rate; other
        calls come in between.
        """
        raise Unsupported(f"driver {self.name!r} has no live view")

    def start_live(self) -> None:  # noqa: B027 - most cameras stream from the start
        """Make live frames flow. Default: nothing."""

    def stop_live(self) -> None:  # noqa: B027
        """End what `start_live` began.

        Also called before each still, unless `DeviceInfo.capture_during_live_view`. Default:
        nothing.
        """

    def controls(self) -> list[Control]:
        """Return the camera's controls with their present values."""
        return []

    def set_controls(self, values: Mapping[str, ControlValue]) -> None:
        """Set controls. Names, types and ranges are checked against `controls()` already."""
        raise Unsupported(f"driver {self.name!r} has no controls")

    def health_check(self) -> DeviceInfo | None:
        """Check the open device, about once a second while no command is running.

        Overridden: the loss of the camera, and what it reports by itself, are noticed while nobody
        uses it. Raise `DeviceAway` when it is lost. Return what `open` would where that has
        changed (warnings, exposure), else None. Must not take long.
        """
        return None

    def recover(self) -> None:  # noqa: B027 - most drivers have no softer step than trying again
        """Do what this camera's users do before they re-open it. Default: nothing."""

    @abstractmethod
    def close(self) -> None:
        """Release the device. Called once after `open`, also after one that failed."""

    @classmethod
    def discover(cls, configured: Sequence[Mapping[str, Any]] = ()) -> list[Device]:
        """List the devices attached, without opening any. Default: none.

        `configured` are the settings of the driver's cameras, which may say where to look. The
        `settings` of a device are keys that its model marks as selecting.
        """
        return []

    @classmethod
    def selects(cls, settings: Mapping[str, Any], device: Device) -> bool:
        """Whether a camera's settings select this device. Default: their values are equal."""
        return all(settings.get(key) == value for key, value in device.settings.items())

    @classmethod
    def diagnose(cls, settings: Mapping[str, Any]) -> list[Finding]:
        """Look at the configured device without opening it, for `camsvc doctor`.

        Is it there, may this user open it, who holds it? Default: nothing to say.
        """
        return []
