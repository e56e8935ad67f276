"""The settings of a driver that says its password wherever it can say anything."""

from pydantic import Field

from camsvc.drivers.settings import DriverSettings, Secret


class IndiscreetSettings(DriverSettings):
    """Three secrets: a URL, one that no name tells, and one that its name does."""

    address: Secret = Field(description="where the camera is")
    pin: Secret = Field(description="what its display shows")
    token: Secret | None = Field(None, description="what lets us in")
