"""What a camera and its worker are run with, resolved from the settings."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from camsvc.model.values import ControlValue


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """A camera's settings as plain values; the names are those of the settings file."""

    id: str
    driver: str
    driver_settings: Mapping[str, object] = field(repr=False)
    """May have passwords in it."""
    controls: Mapping[str, ControlValue]
    attempts: int
    attempt_pause_s: float
    attempt_timeout_s: float
    open_timeout_s: float
    queue_limit: int
    idle_close_s: float
    stall_timeout_s: float
    max_viewers: int


SandboxMode = Literal["auto", "off", "require"]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a worker is confined to."""

    mode: SandboxMode = "off"
    """What the system has for it; nothing; or no worker where files cannot be kept from it."""
    hidden: str = ""
    """A folder: nothing in it can be read or written."""
    writable: tuple[str, ...] = ()
    """Folders that can be written, beside those for temporary files."""
    memory_bytes: int = 0
    """What it may have of its own."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What makes one worker process differ from another; workers of one launch are alike."""

    driver: str
    """The dotted path "package.module:Class"."""
    python: str = sys.executable
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    sandbox: Sandbox = Sandbox()

    @classmethod
    def of(
        cls,
        driver: str,
        python: str | None,
        env: Mapping[str, str],
        sandbox: Sandbox = Sandbox(),
    ) -> "Launch":
        """Return the launch for a driver, an interpreter (None: this one) and variables."""
        return cls(driver, python or sys.executable, tuple(sorted(env.items())), sandbox)
