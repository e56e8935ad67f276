"""What the settings models of all drivers share: the base class, and kinds of values.

The service alone imports settings models. A worker may run under an interpreter without pydantic:
it gets a driver's settings as a plain table in which every key has its value.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, Strict

_DAY_S = 86_400.0
_MAX_SIDE_PX = 65_500
"""The largest side of a JPEG."""

Count = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0, le=_DAY_S)]
SecondsOrZero = Annotated[Number, Field(ge=0, le=_DAY_S)]
Pixels = Annotated[Count, Field(ge=1, le=_MAX_SIDE_PX)]
FramesPerSecond = Annotated[Number, Field(gt=0, le=1000)]
Frames = Annotated[Count, Field(ge=0, le=1000)]
FourCC = Annotated[str, Field(pattern=r"^([ -~]{4})?$")]
Secret = Annotated[
    SecretStr, PlainSerializer(SecretStr.get_secret_value, return_type=str, when_used="json")
]
"""A password, a token, an address that may have one: no log and no message shows it.
The driver finds it in its table as it stands in the file."""

SELECTS = "selects"
"""Marks a key that selects the device: `serial: Annotated[str | None, SELECTS]`."""


class Table(BaseModel):
    """A table of the settings file: it does not change, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DriverSettings(Table):
    """The keys of one driver, which stand in a camera's table among those of every camera.

    Every field has a description. A default may depend on the keys before it, by a
    `default_factory` that takes their values. A field validator finds the keys of every camera,
    such as `attempt_timeout_s`, in `info.data`. A driver that does not come with the service has
    its keys in a table of their own, `options`.
    """

    @classmethod
    def selecting(cls) -> list[str]:
        """Return the keys that select the device."""
        return [name for name, field in cls.model_fields.items() if SELECTS in field.metadata]


def require_both(table: Table, first: str, second: str) -> None:
    """Refuse one key of a pair without the other.

    Raises:
        ValueError: one of them alone is set.
    """
    if (getattr(table, first) is None) != (getattr(table, second) is None):
        raise ValueError(f"keys {first!r} and {second!r} go together: set both or neither")
