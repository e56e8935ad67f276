"""What is wrong with a request, field by field: one refusal names all of it."""

import contextlib
from collections.abc import Iterator

from camsvc.model.errors import InvalidRequest


class Violations:
    """Collects what the checks of one request find.

    A check adds what is wrong and goes on; what it returns then is not used: `checking` raises.
    """

    def __init__(self, found: dict[str, str], metadata: dict[str, str], prefix: str = "") -> None:
        self._found = found
        self._prefix = prefix
        self.metadata = metadata
        """What the refusal carries for programs."""

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, description: str) -> None:
        """Add a wrong field, with its value and what is allowed."""
        field = self._prefix + field
        earlier = self._found.get(field)
        self._found[field] = f"{earlier}; {description}" if earlier else description

    def within(self, field: str) -> "Violations":
        """Return what collects the same for the fields of a message inside the request."""
        return Violations(self._found, self.metadata, f"{self._prefix}{field}.")


def out_of_range(value: object, allowed: str) -> str:
    """Return what is wrong with a number that is too small or too large."""
    return f"{value} is out of range; allowed: {allowed}"


@contextlib.contextmanager
def checking() -> Iterator[Violations]:
    """Collect what the checks in the block find.

    Raises:
        InvalidRequest: at the block's end, with each wrong field.
    """
    found, metadata = dict[str, str](), dict[str, str]()
    yield Violations(found, metadata)
    if found:
        raise InvalidRequest.of(found, metadata)
