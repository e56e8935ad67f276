"""The ways in which a camera's live frames are encoded at the moment, shared among viewers.

Bounded: each further size or quality costs the worker an encoding of every frame.
"""

from camsvc.live.spec import LiveSpec
from camsvc.model.values import LiveVariant

MAX_VARIANTS = 8


class Variants:
    """Counts the viewers of each encoding. Ids are never used twice."""

    def __init__(self) -> None:
        self._users: dict[LiveSpec, list[LiveSpec]] = {}
        self._ids: dict[LiveSpec, int] = {}
        self._next_id = 1

    def add(self, spec: LiveSpec) -> LiveSpec:
        """Add one viewer; return the encoding that serves it.

        When all places are taken, that is the next larger encoding there is, else the largest.
        """
        encoding = spec.encoding
        if encoding not in self._users:
            if len(self._users) < MAX_VARIANTS:
                self._users[encoding] = []
                self._ids[encoding] = self._next_id
                self._next_id += 1
            else:
                encoding = min(self._users, key=lambda other: _distance(other, spec))
        self._users[encoding].append(spec)
        return encoding

    def remove(self, encoding: LiveSpec, spec: LiveSpec) -> None:
        """Remove one viewer."""
        users = self._users[encoding]
        users.remove(spec)
        if not users:
            del self._users[encoding], self._ids[encoding]

    def encoding(self, variant_id: int) -> LiveSpec | None:
        """Return the encoding of an id; None when nobody wants it any more."""
        return next((p for p, id_ in self._ids.items() if id_ == variant_id), None)

    def rate(self, encoding: LiveSpec) -> float | None:
        """Return the rate at which the worker selects frames; None: it takes all.

        It selects only where all viewers want the same rate; else their own pacing does, as two
        selections one after the other would not be even.
        """
        rates = {user.max_fps for user in self._users[encoding]}
        return rates.pop() if len(rates) == 1 else None

    @property
    def takes_every_frame(self) -> bool:
        """Whether the worker encodes every frame that it reads, for anybody."""
        return any(self.rate(encoding) is None for encoding in self._users)

    def wanted(self) -> list[LiveVariant]:
        """Return what the worker is to encode."""
        return [
            LiveVariant(
                self._ids[encoding],
                encoding.max_width_px,
                encoding.max_height_px,
                encoding.quality_percent,
                self.rate(encoding),
            )
            for encoding in self._users
        ]


def _distance(other: LiveSpec, wanted: LiveSpec) -> tuple[bool, int]:
    """Order pictures by how well they serve: larger ones first, the nearest of them first."""
    width = other.width_limit_px - wanted.width_limit_px
    height = other.height_limit_px - wanted.height_limit_px
    return width < 0 or height < 0, abs(width) + abs(height)
