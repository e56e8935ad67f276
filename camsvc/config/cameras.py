"""The settings of a camera: the keys that every camera has, and those of its driver.

A driver's own keys are its model's, which is found through the registry, or through `options_model`
for a driver that does not come with the service.
"""

import functools
import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, create_model
from pydantic_core import PydanticCustomError

from camsvc.drivers.settings import Count, DriverSettings, Flag, Seconds, SecondsOrZero, Table
from camsvc.model.limits import LINE_CHARACTERS
from camsvc.model.options import CameraOptions, Launch, Sandbox, SandboxMode
from camsvc.model.redaction import masked
from camsvc.model.registry import BUILTIN
from camsvc.model.values import ControlValue
from camsvc.system import sandbox

_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
"""Of a class: "package.module:Class"."""


def _plain(value: object) -> object:
    """Refuse what JSON cannot carry: dates, infinities and what is not a number."""
    match value:
        case float() if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        case dict():
            for member in value.values():
                _plain(member)
        case list():
            for member in value:
                _plain(member)
        case bool() | int() | float() | str():
            pass
        case _:
            kind = type(value).__name__
            raise ValueError(f"{kind} {value} is not allowed; allowed: text, numbers, true, false")
    return value


def _control(value: object) -> object:
    match value:
        case dict() | list():
            raise ValueError("allowed: text, a number, true or false")
        case int() if not -(1 << 63) <= value < 1 << 63:
            raise ValueError("the number is too large; allowed: whole numbers of 64 bits")
        case str() if len(value) > LINE_CHARACTERS:
            raise ValueError(f"{len(value)} characters; allowed: up to {LINE_CHARACTERS}")
    return _plain(value)


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError("allowed: names of environment variables, without '='")
    return name


def _available(mode: SandboxMode) -> SandboxMode:
    if mode == "require" and not sandbox.available():
        raise ValueError("this system has no Landlock; allowed here: 'auto', 'off'")
    return mode


Confinement = Annotated[SandboxMode, AfterValidator(_available)]


class CameraSettings(Table):
    """`[[cameras]]`: the keys that every camera has."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="the camera's name for clients")
    driver: str = Field(description="the name of its driver")
    # The first one, one after a soft retry, and one with the device opened again.
    attempts: Annotated[Count, Field(ge=1, le=10)] = Field(
        3, description="how often a capture is tried before it fails"
    )
    # A driver that fails for a moment ("Failed to queue buffer") does so for some 0.6 s.
    attempt_pause_s: SecondsOrZero = Field(
        0.25,
        description="seconds before the second attempt, twice that before the third, ...",
    )
    # Twenty times what a slow network camera takes; an exposure asked for is added.
    attempt_timeout_s: Seconds = Field(
        10.0, description="seconds that one attempt may take, or go on without further progress"
    )
    # A webcam opens in 0.3 s, a camera behind a weak network or PTP in several.
    open_timeout_s: Seconds = Field(15.0, description="seconds that opening the device may take")
    stall_timeout_s: Seconds = Field(
        2.0, description="seconds without a frame after which live view counts as stalled"
    )
    queue_limit: Annotated[Count, Field(ge=0, le=1000)] = Field(
        16, description="captures that may wait for the camera at once"
    )
    # Forty cost a core some 15 %; far more than that is a job for a media server.
    max_viewers: Annotated[Count, Field(ge=1, le=10_000)] = Field(
        64, description="live view streams that may be open at once"
    )
    open_at_start: Flag = Field(
        False, description="open the device in the background at start, not at first use"
    )
    idle_close_s: SecondsOrZero = Field(
        0.0, description="seconds without use after which the device is closed; 0: never"
    )
    python: str | None = Field(
        None, min_length=1, description="another Python interpreter for the driver's process"
    )
    env: dict[Annotated[str, AfterValidator(_variable)], str] = Field(
        default_factory=dict,
        repr=False,
        description="environment variables of the driver's process",
    )
    sandbox: Confinement | None = Field(
        None, description="what its process is kept from, where that is not as in [service]"
    )
    writable: list[Path] = Field(
        default_factory=list, description="folders that its driver may write, such as a cache"
    )
    controls: dict[str, Annotated[ControlValue, BeforeValidator(_control)]] = Field(
        default_factory=dict, description="control values that are set after every open"
    )

    @property
    def driver_path(self) -> str:
        """The driver's class as "package.module:Class"."""
        known = BUILTIN.get(self.driver)
        return known.driver if known else self.driver

    def launch(self, shared: Sandbox) -> Launch:
        """Return what the camera's worker is started with; `shared` is the service's sandbox."""
        writable = (*shared.writable, *(str(path.expanduser()) for path in self.writable))
        own = replace(shared, mode=self.sandbox or shared.mode, writable=writable)
        return Launch.of(self.driver_path, self.python, self.env, own)

    @property
    def camera_options(self) -> CameraOptions:
        """What the camera is run with."""
        common = self.model_dump(include=set(CameraOptions.__slots__))
        return CameraOptions(**common, driver_settings=self.driver_settings())

    def driver_settings(self) -> dict[str, object]:
        """Return the table that the driver gets: all its keys, as plain values."""
        return self.model_dump(mode="json", exclude=set(CameraSettings.model_fields))


class PluginSettings(CameraSettings):
    """A camera with a driver that does not come with the service, named by its path."""

    driver: str = Field(pattern=_PATH, description="the driver's class as package.module:Class")
    options: Annotated[dict[str, Any], BeforeValidator(_plain)] = Field(
        default_factory=dict, repr=False, description="the driver's own keys"
    )
    options_model: str | None = Field(
        None, pattern=_PATH, description="the model that checks them, as package.module:Class"
    )

    def driver_settings(self) -> dict[str, object]:
        """Return the `options` table, resolved where the driver has a model."""
        options: dict[str, object] = self.model_dump(mode="json")["options"]
        return options


def camera_model(table: object) -> type[CameraSettings]:
    """Return the model of a camera's table.

    Raises:
        PydanticCustomError: it is not a table, or its driver or `options_model` is unknown.
    """
    if not isinstance(table, Mapping):
        raise _problem(
            f"{masked(table)!r} is not a camera; each is a table of its own, headed [[cameras]]"
        )
    driver = table.get("driver")
    if not isinstance(driver, str):
        raise _problem(f"key 'driver' is missing, or not text; {_drivers()}")
    if ":" in driver:
        return _plugin_model(table.get("options_model"))
    if driver not in BUILTIN:
        raise _problem(f"driver {driver!r} is unknown; {_drivers()}")
    return _builtin_model(driver)


def parse_camera(table: object) -> CameraSettings:
    """Return a camera's settings.

    Raises:
        ValidationError, PydanticCustomError: with what is wrong.
    """
    return camera_model(table).model_validate(table)


def driver_model(name: str) -> type[DriverSettings]:
    """Return the settings model of a driver that comes with the service."""
    model: type[DriverSettings] = _imported(BUILTIN[name].settings)
    return model


@functools.cache
def _builtin_model(name: str) -> type[CameraSettings]:
    own, known = driver_model(name), BUILTIN[name]
    python = CameraSettings.model_fields["python"]
    # In this order, the keys of every camera come first, and are known when the others are checked.
    bases: Any = (own, CameraSettings)
    combined = create_model(
        own.__name__,
        __base__=bases,
        python=(str | None, Field(known.python, min_length=1, description=python.description)),
    )
    return cast(type[CameraSettings], combined)


def _plugin_model(path: object) -> type[PluginSettings]:
    if not isinstance(path, str) or not re.match(_PATH, path):
        return PluginSettings  # which refuses it
    try:
        own = _imported(path)
    except Exception as error:  # the module may raise anything when it is imported
        why = f"{type(error).__name__}: {error}"
        raise _problem(f"key 'options_model': {path!r} cannot be imported: {why}") from error
    if not (isinstance(own, type) and issubclass(own, DriverSettings)):
        base = f"{DriverSettings.__module__}.{DriverSettings.__name__}"
        raise _problem(f"key 'options_model': {path!r} is not a model; allowed: a {base}")
    options = PluginSettings.model_fields["options"]
    return create_model(
        PluginSettings.__name__,
        __base__=PluginSettings,
        options=(
            own,
            Field(
                default_factory=dict,
                validate_default=True,
                repr=False,
                description=options.description,
            ),
        ),
    )


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _drivers() -> str:
    names = ", ".join(BUILTIN)
    return f'allowed: {names}, or the path "package.module:Class" of a driver of your own'


def _problem(text: str) -> PydanticCustomError:
    return PydanticCustomError("camera", "{text}", {"text": text})
