"""What a worker process is started with."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from camsvc.config.settings import CameraSettings
from camsvc.model.registry import PYTHON


@dataclass(frozen=True, slots=True)
class Launch:
    """What makes one worker process differ from another; workers of one launch are alike."""

    driver: str
    """The dotted path "package.module:Class"."""
    python: str = sys.executable
    env: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, driver: str, python: str | None, env: Mapping[str, str]) -> "Launch":
        """Return the launch for a camera's settings."""
        return cls(driver, python or sys.executable, tuple(sorted(env.items())))


def launch_of(settings: CameraSettings) -> Launch:
    """Return what a camera's worker is started with."""
    python = settings.python or PYTHON.get(settings.driver)
    return Launch.of(settings.driver_path, python, settings.env)
