"""The plan of a scan: fixed when it begins, and the same when it is resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from camsvc_client.scanner.pattern import Point
from camsvc_client.values import ControlValue, ImageFormat

FOCUS = "focus_distance_diopters"
EXPOSURE = "exposure_duration_us"


class PlanDiffers(ValueError):
    """The folder has a scan with another plan: choose another folder, or do not change the plan.

    Example:
        except PlanDiffers as error:
            print(error)
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scan.

    `cameras` take their pictures of each point at the same moment. The focus (dioptres, 0 is
    infinity) and the exposure (microseconds) are set at the start and hold for every picture; so do
    `controls`. `settle_s` is how long the stage comes to rest after a movement, in seconds.

    Example:
        plan = Plan(
            cameras=["left", "right"],
            points=cylinder(36, 4, height_mm=300),
            focus_diopters=8.2,
            exposure_us=20_000,
        )
    """

    cameras: Sequence[str]
    points: Sequence[Point]
    focus_diopters: float | None = None
    exposure_us: int | None = None
    controls: Mapping[str, ControlValue] = field(default_factory=dict)
    format: ImageFormat = "jpeg"
    settle_s: float = 0.2

    def __post_init__(self) -> None:
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras {list(self.cameras)}; allowed: at least one, each once")
        if not self.points:
            raise ValueError("no points; allowed: at least one")

    def settings(self) -> dict[str, ControlValue]:
        """Return the controls that every picture is taken with."""
        fixed: dict[str, ControlValue] = {}
        if self.focus_diopters is not None:
            fixed |= {FOCUS: float(self.focus_diopters)}
        if self.exposure_us is not None:
            fixed |= {EXPOSURE: int(self.exposure_us)}
        return {**fixed, **self.controls}

    def document(self) -> dict[str, Any]:
        """Return it as it is written to the folder."""
        return dataclasses.asdict(self) | {
            "cameras": list(self.cameras),
            "points": [{"number": p.number, "axes": dict(p.axes)} for p in self.points],
            "controls": dict(self.controls),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Make one of what `document` returned."""
        points = [Point(p["number"], p["axes"]) for p in document["points"]]
        return cls(**{**document, "points": points})
