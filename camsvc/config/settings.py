"""The settings: one TOML file; the environment wins over it, and the command line over both.

Frozen, and unknown keys are refused. Every field says what it is for and in which unit; a default
that is a matter of tuning has its reason next to it.
"""

import contextlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)

from camsvc.config.cameras import CameraSettings, Confinement, parse_camera
from camsvc.config.errors import SettingsError, explain
from camsvc.drivers.settings import Count, Number, SecondsOrZero, Table
from camsvc.model.options import Sandbox
from camsvc.model.redaction import masked, secrets_in

_ENV_PREFIX = "CAMSVC_"


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    named = bool(host.strip("[]")) and (bracketed or ":" not in host)
    if not (named and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(
            "allowed: HOST:PORT with a port from 0 (any that is free) to 65535, such as "
            "127.0.0.1:50051, 0.0.0.0:50051 (every interface) or [::1]:50051"
        )
    return value


def _listen_or_not(value: str) -> str:
    return value and _listen(value)


class ServiceSettings(Table):
    """`[service]`: what all cameras share."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        "127.0.0.1:50051", description="host and port to serve gRPC on; port 0 takes a free one"
    )
    metrics_listen: Annotated[str, AfterValidator(_listen_or_not)] = Field(
        "127.0.0.1:9464",
        description='host and port to serve Prometheus metrics on, by HTTP; "" serves none',
    )
    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=lambda: platformdirs.user_data_path("camsvc"),
        description="folder of the pictures and their journal, made when missing",
    )
    # Enough for the journal to go on, and to delete captures.
    min_free_bytes: Annotated[Count, Field(ge=0)] = Field(
        4 * 2**20,
        description="bytes to leave free on the disk of data_dir: a capture whose picture might "
        "need them is refused",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="how logs are written; auto is console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least severe logs to write"
    )
    # What a capture of an ordinary camera takes with one recovery in it. systemd waits 90 s.
    grace_s: SecondsOrZero = Field(
        10.0, description="seconds that captures in flight may still take at a stop"
    )
    # Off: behind a proxy, all callers have one address.
    max_calls_per_s: Annotated[Number, Field(ge=0, le=1_000_000)] = Field(
        0.0,
        description="calls that may begin in a second from one address; beyond, they are refused "
        "with the time to come back; 0: any number",
    )
    sandbox: Confinement = Field(
        "auto",
        description="what a camera's process is kept from: auto is what the system has for it, "
        "off nothing; require refuses to start where files cannot be kept from it",
    )
    # Eight copies of 64 megapixels at 16 bits and three channels, and what 64 threads reserve.
    worker_memory_bytes: Annotated[Count, Field(ge=256 * 2**20)] = Field(
        4 * 2**30, description="memory in bytes that each camera's process may have of its own"
    )
    # A back end's browsers, each with its live view, its events and a call; some 50 KiB each.
    max_calls: Annotated[Count, Field(ge=16, le=100_000)] = Field(
        2_000,
        description="calls that may be under way at once, streams included; when all are, the "
        "caller with most of them gives way to others",
    )
    max_connections: Annotated[Count, Field(ge=16, le=100_000)] = Field(
        1_000,
        description="connections of clients that may be open at once; fewer where the system "
        "allows too few descriptors",
    )
    # Each has up to 1 MiB on its way.
    max_downloads: Annotated[Count, Field(ge=1, le=10_000)] = Field(
        64, description="downloads that may be under way at once; shared as max_calls"
    )
    # Most gRPC clients accept messages of 4 MiB; 64 KiB are for the rest of the response.
    inline_limit_bytes: Annotated[Count, Field(ge=1, le=2**31 - 1)] = Field(
        4 * 2**20 - 64 * 2**10,
        description="largest picture in bytes in a response, where the request does not say",
    )

    @property
    def sandboxed(self) -> Sandbox:
        """What workers are confined to."""
        hidden = os.path.abspath(self.data_dir)
        return Sandbox(self.sandbox, hidden, memory_bytes=self.worker_memory_bytes)


class RetentionSettings(Table):
    """`[retention]`: for how long captures are kept."""

    max_age_days: Annotated[Number, Field(ge=0, le=36_500)] = Field(
        0.0, description="days after which a capture is deleted, with its events; 0: never"
    )
    max_bytes: Annotated[Count, Field(ge=0)] = Field(
        0,
        description="bytes that pictures may take, with what the journal has beyond 16 MiB; "
        "beyond, the oldest go; 0: no limit",
    )
    # A reply may be lost and asked for again, and a reference is fetched after it was given.
    min_age_s: Annotated[Number, Field(ge=0, le=86_400)] = Field(
        60.0, description="seconds for which a capture stays after its end, whatever its size"
    )
    pinned_label: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_.-]{0,62}(=.*)?)?$",
        description='label "key" or "key=value" of captures that are kept for ever; "": none',
    )
    # About 500 bytes each, and some 4 of a capture: a year of a scan a day.
    max_events: Annotated[Count, Field(ge=1000)] = Field(
        400_000, description="events to keep, of 1 KiB on average; beyond, the oldest go"
    )


def _typed_secrets(value: object) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            yield from _typed_secrets([member for _, member in value])
        case Mapping():
            yield from _typed_secrets(list(value.values()))
        case list() | tuple():
            for member in value:
                yield from _typed_secrets(member)


class Settings(Table):
    """All settings."""

    service: ServiceSettings = Field(
        default_factory=ServiceSettings, description="what all cameras share"
    )
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings, description="for how long captures are kept"
    )
    cameras: tuple[Annotated[CameraSettings, PlainValidator(parse_camera)], ...] = Field(
        description="the cameras"
    )

    def secrets(self) -> Iterator[str]:
        """Yield what nothing may show: values of the type `Secret`, and what looks like one."""
        for camera in self.cameras:
            yield from _typed_secrets(camera)
            yield from secrets_in(camera.driver_settings())
            yield from secrets_in(camera.env)

    @model_validator(mode="after")
    def _has_cameras_of_different_names(self) -> Self:
        ids = [camera.id for camera in self.cameras]
        if not ids:
            raise ValueError(
                "no camera is configured; add at least one, such as: [[cameras]] with "
                'id = "sim0" and driver = "simulated"'
            )
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            names = ", ".join(map(repr, twice))
            raise ValueError(f"cameras, key 'id': {names} is used twice; every camera has its own")
        return self

    @model_validator(mode="after")
    def _hides_nothing_that_a_camera_reads(self) -> Self:
        for camera in self.cameras:
            read = {"python": camera.python, **camera.driver_settings()}
            for key, value in read.items() if self._confines(camera) else ():
                if isinstance(value, str) and _lies_in(value, self.service.data_dir):
                    raise ValueError(
                        f"camera {camera.id!r}, key {key!r}: {value!r} lies in the data folder, "
                        "which the camera's process may not read; move it out of there, or set "
                        'sandbox = "off" for this camera'
                    )
        return self

    def _confines(self, camera: CameraSettings) -> bool:
        return (camera.sandbox or self.service.sandbox) != "off"


def _lies_in(name: str, folder: Path) -> bool:
    """Whether it is the name of a file that is there, in a folder."""
    if not os.path.exists(name):
        return False
    root = os.path.realpath(folder)
    ways = (os.path.abspath(name), os.path.realpath(name))
    return any(os.path.commonpath([root, way]) == root for way in ways)


_SHARED: dict[str, type[BaseModel]] = {"service": ServiceSettings, "retention": RetentionSettings}
"""The tables that the environment may set keys of."""


def load(path: Path | None, **command_line: Any) -> Settings:
    """Return the settings of a file, the environment and the command line, the last one winning.

    Without a file there is one simulated camera, `sim0`. `command_line` has keys of `[service]`;
    those of None do not count.

    Raises:
        SettingsError: with a line for each problem.
    """
    raw: dict[str, Any] = {"cameras": [{"id": "sim0", "driver": "simulated"}]}
    if path is not None:
        raw = _read(path)
    origin = {"": "settings" if path is None else str(path)}
    for name, model in _SHARED.items():
        variables = _variables(name, model)
        if isinstance(raw.setdefault(name, {}), dict):
            raw[name] |= variables
            prefix = f"{_ENV_PREFIX}{name.upper()}__"
            origin |= {key: f"{prefix}{key.upper()} (environment)" for key in variables}
    given = {key: value for key, value in command_line.items() if value is not None}
    if isinstance(raw["service"], dict):
        raw["service"] |= given
        origin |= dict.fromkeys(given, "command line")
    raw.setdefault("cameras", [])
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise explain(error, raw, Settings, origin) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        # An editor on Windows may have put a byte order mark in front.
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        problem = "the file does not exist"
    except IsADirectoryError:
        problem = "a folder; allowed: a TOML file"
    except UnicodeDecodeError:
        problem = "not a text file in UTF-8; allowed: a TOML file"
    except tomllib.TOMLDecodeError as error:
        problem = f"not TOML: {error}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise SettingsError(f"{path}: {problem}")


def _variables(table: str, model: type[BaseModel]) -> dict[str, Any]:
    """Return what the environment sets of a table.

    As one JSON object, CAMSVC_SERVICE, or key by key, CAMSVC_SERVICE__LISTEN; a key by itself wins.
    """
    name = f"{_ENV_PREFIX}{table.upper()}"
    variables = {variable.upper(): value for variable, value in os.environ.items()}
    try:
        given = json.loads(variables.get(name, "{}"))
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise SettingsError(
            f"{name} (environment): {masked(variables[name])!r} is not a JSON object; set "
            f"single keys instead, such as {name}__{next(iter(model.model_fields)).upper()}"
        )
    given |= {
        variable.removeprefix(f"{name}__").lower(): value
        for variable, value in variables.items()
        if variable.startswith(f"{name}__")
    }
    return {key: _typed(model, key, value) for key, value in given.items()}


def _typed(model: type[BaseModel], key: str, text: object) -> object:
    """Return a variable's text as the number that it stands for where the key takes one."""
    field = model.model_fields.get(key)
    if not isinstance(text, str) or field is None or field.annotation not in (int, float):
        return text
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return text
