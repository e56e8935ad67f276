"""What is attached to this machine."""

import json
from dataclasses import dataclass

from camsvc.model.registry import BUILTIN
from camsvc.model.values import Device


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device attached to this machine.

    `camera` is the id of the camera that it is configured as, or one that is free. `options_model`
    is that of a driver that does not come with the service.
    """

    driver: str
    device: Device
    camera: str
    options_model: str | None = None

    @property
    def settings_snippet(self) -> str:
        """A table for the settings file, ready to paste."""
        place = "" if self.driver in BUILTIN else "options."
        values: dict[str, str | int] = {"id": self.camera, "driver": self.driver}
        if self.options_model:
            values["options_model"] = self.options_model
        values |= {f"{place}{key}": value for key, value in self.device.settings.items()}
        # JSON's strings and integers are TOML's.
        return "\n".join(["[[cameras]]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())])


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, and the drivers whose discovery failed, with the reason."""

    devices: list[FoundDevice]
    failures: dict[str, str]
