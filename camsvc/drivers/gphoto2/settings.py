"""The settings of a camera on the USB that libgphoto2 drives."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from camsvc.drivers.settings import SELECTS, DriverSettings, Flag, FramesPerSecond, Seconds


class GPhoto2Settings(DriverSettings):
    """A camera on the USB, selected by one or more of the first three keys; none: the only one."""

    model: Annotated[str | None, SELECTS] = Field(
        None, min_length=1, description="a part of the model's name as `camsvc discover` prints it"
    )
    serial: Annotated[str | None, SELECTS] = Field(
        None, min_length=1, description="the serial number; leading zeros do not count"
    )
    port: Annotated[str | None, SELECTS] = Field(
        None,
        pattern=r"^usb:\d{3},\d{3}$",
        description="the USB port as usb:BUS,DEVICE, which changes whenever it is plugged in",
    )
    capture_target: Literal["ram", "card"] | None = Field(
        None,
        description="where the camera keeps pictures until they are fetched; by default what "
        "libgphoto2 takes, usually ram",
    )
    keep_on_card: Flag = Field(
        True, description="whether pictures stay on the camera when they have been fetched"
    )
    image_format: str | None = Field(
        None,
        min_length=1,
        description="what the camera makes of a shot, in its own words, such as NEF+Fine or "
        "RAW + Large Fine JPEG; by default what it is set to",
    )
    autofocus: Flag = Field(
        True,
        description="whether it focuses before a still; for Nikon: others have a switch at the "
        "lens, or `focus_mode`",
    )
    # What a viewer needs to aim and focus; a camera's live view is 20 to 30 frames a second, and
    # each costs its battery.
    live_fps: Annotated[FramesPerSecond, Field(le=60)] = Field(
        15.0, description="most frames per second of its live view"
    )
    # A RAW file of 50 MB takes 3 s over USB 2.
    file_timeout_s: Seconds = Field(
        8.0,
        validate_default=True,
        description="seconds after the exposure within which the camera must report its pictures",
    )
    iolibs: str | None = Field(
        None,
        min_length=1,
        description="folder of libgphoto2's port libraries, for one's own builds",
    )
    camlibs: str | None = Field(
        None, min_length=1, description="folder of libgphoto2's camera libraries, likewise"
    )

    @field_validator("file_timeout_s")
    @classmethod
    def _ends_before_the_attempt(cls, value: float, info: ValidationInfo) -> float:
        """Have a camera that does not focus reported, before its worker is killed."""
        attempt_s = info.data.get("attempt_timeout_s")
        if attempt_s is not None and value >= attempt_s:
            raise ValueError(f"not less than attempt_timeout_s, {attempt_s:g}; allowed: less")
        return value
