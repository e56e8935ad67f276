"""The settings that a driver gets, as the service resolves them."""

from camsvc.config.cameras import parse_camera


def resolved(driver: str, **keys: object) -> dict[str, object]:
    """Return the table that a driver gets for these keys of a camera in the settings file."""
    return parse_camera({"id": "camera", "driver": driver, **keys}).driver_settings()
