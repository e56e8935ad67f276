"""What a viewer of a live view wants to see."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from camsvc.model.values import DEFAULT_LIVE_QUALITY_PERCENT

_NO_LIMIT = 1 << 16
_UNTOUCHED = DEFAULT_LIVE_QUALITY_PERCENT + 1
"""The rank of no quality: better than the default and those below it, as a JPEG of the camera's own
then stays as it is."""


class Rank(NamedTuple):
    """How much an encoding gives. What is no less in each field serves as well.

    But of the same `fine` only: what is encoded in a higher quality than the default does not serve
    those who get the camera's own JPEG otherwise.
    """

    fine: bool
    width_px: int
    height_px: int
    quality: int

    def joined(self, other: "Rank") -> "Rank":
        """Return the least that serves both; they have the same `fine`."""
        return Rank._make(map(max, self, other))

    def serves(self, other: "Rank") -> bool:
        """Whether who wants the other gets nothing smaller or worse by this."""
        return self.fine == other.fine and self.joined(other) == self


@dataclass(frozen=True, slots=True)
class LiveSpec:
    """What a viewer wants to see. Sizes in pixels, the aspect is kept; None: no limit."""

    max_width_px: int | None = None
    max_height_px: int | None = None
    quality_percent: int | None = None
    max_fps: float | None = None

    @classmethod
    def of(cls, rank: Rank) -> Self:
        """Return the encoding of this rank."""
        return cls(
            None if rank.width_px == _NO_LIMIT else rank.width_px,
            None if rank.height_px == _NO_LIMIT else rank.height_px,
            None if rank.quality == _UNTOUCHED and not rank.fine else rank.quality,
        )

    @property
    def rank(self) -> Rank:
        """How much its encoding gives."""
        fine = (self.quality_percent or 0) > DEFAULT_LIVE_QUALITY_PERCENT
        quality = self.quality_percent or _UNTOUCHED
        return Rank(fine, self.width_limit_px, self.height_limit_px, quality)

    @property
    def encoding(self) -> "LiveSpec":
        """The same without the rate: what the frames look like."""
        return LiveSpec(self.max_width_px, self.max_height_px, self.quality_percent)

    @property
    def whole(self) -> "LiveSpec":
        """An encoding in the camera's own size that serves this, too."""
        return LiveSpec(quality_percent=100 if self.rank.fine else None)

    @property
    def width_limit_px(self) -> int:
        """The widest it may be; more than any picture is where there is no limit."""
        return self.max_width_px or _NO_LIMIT

    @property
    def height_limit_px(self) -> int:
        """As `width_limit_px`."""
        return self.max_height_px or _NO_LIMIT

    def shows_whole(self, width_px: int, height_px: int) -> bool:
        """Whether an image of this size, encoded for this, has the camera's own size."""
        return width_px < self.width_limit_px and height_px < self.height_limit_px

    def is_served_by(self, other: "LiveSpec", width_px: int, height_px: int) -> bool:
        """Whether an image of this size, encoded for `other`, is what this asks for as well.

        So it is where the limits of neither have made it smaller than the camera's own.
        """
        fits = width_px <= self.width_limit_px and height_px <= self.height_limit_px
        same_quality = self.quality_percent == other.quality_percent
        is_own = other.shows_whole(width_px, height_px)
        return self.encoding == other.encoding or (fits and is_own and same_quality)
