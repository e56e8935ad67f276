"""A plug-in's settings of kinds that no driver of the service has."""

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from camsvc.drivers.settings import Count, DriverSettings, Table


class Part(Table):
    """A table in a table."""

    size: Count


class OddSettings(DriverSettings):
    """As a user may write them, without a description too."""

    pair: tuple[int, str] = (1, "a")
    either: int | list[int] = 0
    folder: Path = Path("/")
    parts: dict[str, Part] = Field(default_factory=dict, description="by name")
    one: Part = Part(size=1)
    renamed: Count = Field(1, alias="other-name")
    hook: Callable[[], None] | None = None
