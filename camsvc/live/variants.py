"""The ways in which a camera's live frames are encoded at the moment, shared among viewers.

Bounded: each further size or quality costs the worker an encoding of every frame.
"""

from dataclasses import dataclass

from camsvc.model.values import LiveVariant

MAX_VARIANTS = 8
_NO_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class LiveSpec:
    """What a viewer wants to see. Sizes in pixels, the aspect is kept; None: no limit."""

    max_width_px: int | None = None
    max_height_px: int | None = None
    quality_percent: int | None = None
    max_fps: float | None = None

    @property
    def encoding(self) -> "LiveSpec":
        """The same without the rate: what the frames look like."""
        return LiveSpec(self.max_width_px, self.max_height_px, self.quality_percent)

    def is_served_by(self, other: "LiveSpec", width_px: int, height_px: int) -> bool:
        """Whether an image of this size, encoded for `other`, is what this asks for as well.

        So it is where the limits of neither have made it smaller than the camera's own.
        """
        fits = width_px <= self.width_limit_px and height_px <= self.height_limit_px
        is_own = width_px < other.width_limit_px and height_px < other.height_limit_px
        same_quality = self.quality_percent == other.quality_percent
        return self.encoding == other.encoding or (fits and is_own and same_quality)

    @property
    def width_limit_px(self) -> int:
        """The widest it may be; more than any picture is where there is no limit."""
        return self.max_width_px or _NO_LIMIT

    @property
    def height_limit_px(self) -> int:
        """As `width_limit_px`."""
        return self.max_height_px or _NO_LIMIT


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
