"""Which of the attached camera modules a camera's settings select."""

from typing import Any

from camsvc.model.errors import DeviceAway, DriverFault


def resolve(source: int | str, cameras: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the camera that a number, an id or a model selects, with its number as `Num`.

    Raises:
        DeviceAway: none is attached there.
        DriverFault: several cameras are of the model.
    """
    numbered = [{**about, "Num": number} for number, about in enumerate(cameras)]
    found = [a for a in numbered if source in (a["Num"], a["Id"], a["Model"])]
    if len(found) == 1:
        return found[0]
    have = ", ".join(f"{a['Num']}: {a['Model']}" for a in numbered) or "none"
    if found:
        raise DriverFault(
            f"several cameras are of the settings' source {source!r}: select one by its number or "
            f"its id; attached are: {have}"
        )
    raise DeviceAway(
        f"no camera is attached as the settings' source {source!r}; attached are: {have}"
    )
