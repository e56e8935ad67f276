"""The ways in which a camera's live frames are encoded at the moment, shared among viewers.

Bounded: each further size or quality costs the worker an encoding of every frame.
"""

from dataclasses import dataclass

from camsvc.model.values import LiveVariant

MAX_VARIANTS = 8


@dataclass(frozen=True, slots=True)
class LiveSpec:
    """What a viewer wants to see. Sizes in pixels, the aspect is kept; None: no limit."""

    max_width_px: int | None = None
    max_height_px: int | None = None
    quality_percent: int | None = None
    max_fps: float | None = None

    @property
    def picture(self) -> "LiveSpec":
        """The same without the rate: what the pictures look like."""
        return LiveSpec(self.max_width_px, self.max_height_px, self.quality_percent)


class Variants:
    """Counts who wants what. Ids are never used twice."""

    def __init__(self) -> None:
        self._users: dict[LiveSpec, list[LiveSpec]] = {}
        self._ids: dict[LiveSpec, int] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._users)

    def add(self, spec: LiveSpec) -> LiveSpec:
        """Note one more viewer; return the pictures that serve it.

        When all places are taken, that is the next larger picture there is, else the largest.
        """
        picture = spec.picture
        if picture not in self._users:
            if len(self._users) < MAX_VARIANTS:
                self._users[picture] = []
                self._ids[picture] = self._next_id
                self._next_id += 1
            else:
                picture = min(self._users, key=lambda other: _distance(other, spec))
        self._users[picture].append(spec)
        return picture

    def remove(self, picture: LiveSpec, spec: LiveSpec) -> None:
        """Note that a viewer left."""
        users = self._users[picture]
        users.remove(spec)
        if not users:
            del self._users[picture], self._ids[picture]

    def picture(self, variant_id: int) -> LiveSpec | None:
        """Return the pictures of an id; None when nobody wants them any more."""
        return next((p for p, id_ in self._ids.items() if id_ == variant_id), None)

    def rate(self, picture: LiveSpec) -> float | None:
        """Return the rate at which the worker selects frames; None: it takes all.

        It selects only where all viewers want the same rate; else their own pacing does, as two
        selections one after the other would not be even.
        """
        rates = {user.max_fps for user in self._users[picture]}
        return rates.pop() if len(rates) == 1 else None

    def wanted(self) -> list[LiveVariant]:
        """Return what the worker is to encode."""
        return [
            LiveVariant(
                self._ids[picture],
                picture.max_width_px,
                picture.max_height_px,
                picture.quality_percent,
                self.rate(picture),
            )
            for picture in self._users
        ]


_NO_LIMIT = 1 << 16


def _distance(other: LiveSpec, wanted: LiveSpec) -> tuple[bool, int]:
    """Order pictures by how well they serve: larger ones first, the nearest of them first."""
    width, height = (_limits(other)[i] - _limits(wanted)[i] for i in (0, 1))
    return width < 0 or height < 0, abs(width) + abs(height)


def _limits(spec: LiveSpec) -> tuple[int, int]:
    return spec.max_width_px or _NO_LIMIT, spec.max_height_px or _NO_LIMIT
