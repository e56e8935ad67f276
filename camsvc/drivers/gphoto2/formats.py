"""What a gphoto2 camera makes of a shot, in its maker's words, and where it keeps that."""

from camsvc.drivers.gphoto2.controls import ControlTree
from camsvc.model.errors import DriverFault

_SETTINGS = ("imageformat", "imagequality")


class Formats:
    """The setting that says so. `configured` is the choice of the camera's settings, or empty."""

    def __init__(self, controls: ControlTree, configured: str) -> None:
        self._controls = controls
        self._configured = configured
        names = [name for name in _SETTINGS if controls.choices(name)]
        telling = [name for name in names if any(map(_raw, controls.choices(name)))]
        self._name = next(iter(telling + names), "")
        self._choices = controls.choices(self._name)

    @property
    def offered(self) -> list[str]:
        """The contract's names of the formats that a still can be asked for in."""
        jpeg = not self._choices or any(map(_jpeg, self._choices))
        return [
            *(["JPEG", "PNG"] if jpeg else []),
            *(["RAW"] if any(map(_raw, self._choices)) else []),
        ]

    def begin(self) -> None:
        """Set what the settings want.

        Raises:
            DriverFault: the camera does not offer it.
        """
        if not self._configured:
            return
        if self._configured not in self._choices:
            raise DriverFault(
                f"the settings' image_format = {self._configured!r} is not available on this "
                f"camera, which has: {', '.join(map(repr, self._choices)) or 'no choice'}"
            )
        self._controls.choose(self._name, self._configured)

    def set_for(self, wanted: str) -> tuple[str, int]:
        """Have the camera make a format; return what it was set to, and how many files it makes.

        What it is set to stays where that makes the format, alone or with the other. `restore` has
        to follow.
        """
        before = str(self._controls.value(self._name) or "") if self._name else ""
        chosen = self._choice(wanted, before)
        if chosen != before:
            self._controls.choose(self._name, chosen)
        return before, _files(chosen)

    def restore(self, before: str) -> None:
        """Set what the camera makes as it was, where it is not."""
        if before and self._controls.value(self._name) != before:
            self._controls.choose(self._name, before)

    def _choice(self, wanted: str, present: str) -> str:
        makes = _raw if wanted == "RAW" else _jpeg
        if not present or makes(present):
            return present
        alone = [choice for choice in self._choices if makes(choice) and _files(choice) == 1]
        fine = [choice for choice in alone if "fine" in choice.lower()]
        both = [choice for choice in self._choices if makes(choice)]
        return (fine or alone or both or [present])[0]


def aim(controls: ControlTree, target: str) -> None:
    """Have pictures go to the camera's memory ("ram") or to its card ("card"), if to either.

    Raises:
        DriverFault: the camera does not offer it.
    """
    choices = controls.choices("capturetarget")
    fitting = [choice for choice in choices if target in choice.lower()]
    if target and not fitting:
        raise DriverFault(
            f"the settings' capture_target = {target!r} is not available on this camera, "
            f"which has: {', '.join(choices) or 'no choice'}"
        )
    if target:
        controls.choose("capturetarget", fitting[0])


def _parts(choice: str) -> list[str]:
    """Return what a choice makes, a file each: "raw", "jpeg", or "other"."""
    return [_kind(part) for part in choice.lower().split("+")]


def _kind(part: str) -> str:
    if any(word in part for word in ("raw", "nef")):
        return "raw"
    # Makers name the sizes and qualities of JPEGs in many ways, the rest by what it is.
    return "other" if any(word in part for word in ("tif", "hei")) else "jpeg"


def _raw(choice: str) -> bool:
    return "raw" in _parts(choice)


def _jpeg(choice: str) -> bool:
    return "jpeg" in _parts(choice)


def _files(choice: str) -> int:
    return len(_parts(choice))
