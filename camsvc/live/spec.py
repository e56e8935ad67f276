"""What a viewer of a live view wants to see."""

from dataclasses import dataclass

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
