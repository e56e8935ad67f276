"""Where the pictures of a scan are taken, in the order that moves the stage least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One place: the positions of the stage's axes, whose names end in their units.

    Example:
        Point(0, {"angle_deg": 30.0, "height_mm": 120.0})
    """

    number: int
    axes: Mapping[str, float]


def cylinder(columns: int, rows: int, *, height_mm: float = 0.0) -> list[Point]:
    """Return points around an object: `columns` angles at each of `rows` heights.

    The angles divide the full turn, the heights 0..`height_mm`. Every second ring is traversed
    backwards, so that no cable winds up.

    Raises:
        ValueError: `columns` or `rows` is less than 1.

    Example:
        points = cylinder(36, 4, height_mm=300)
    """
    _check(columns, rows)
    heights = _spread(rows, height_mm)
    angles = [360.0 * column / columns for column in range(columns)]
    return _there_and_back(
        [[{"angle_deg": angle, "height_mm": height} for angle in angles] for height in heights]
    )


def grid(columns: int, rows: int, *, step_mm: float) -> list[Point]:
    """Return points on a plane, `step_mm` apart in both directions.

    Raises:
        ValueError: `columns` or `rows` is less than 1.

    Example:
        points = grid(5, 4, step_mm=50)
    """
    _check(columns, rows)
    return _there_and_back(
        [
            [{"x_mm": column * step_mm, "y_mm": row * step_mm} for column in range(columns)]
            for row in range(rows)
        ]
    )


def _check(columns: int, rows: int) -> None:
    if columns < 1 or rows < 1:
        raise ValueError(f"{columns} x {rows} points; allowed: at least 1 x 1")


def _spread(count: int, length: float) -> list[float]:
    return [length * index / (count - 1) if count > 1 else 0.0 for index in range(count)]


def _there_and_back(rows: list[list[dict[str, float]]]) -> list[Point]:
    ordered = [axes for index, row in enumerate(rows) for axes in (row[::-1] if index % 2 else row)]
    return [
        Point(number, {name: round(value, 6) for name, value in axes.items()})
        for number, axes in enumerate(ordered)
    ]
