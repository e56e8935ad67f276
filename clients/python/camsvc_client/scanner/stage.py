"""Motion stages: an interface of three methods, and a simulated one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol


class Stage(Protocol):
    """A motion stage.

    `home` comes first, once; `move` then for every point; `close` at the end, also after an error.
    Each returns when the movement is over. What they raise ends the scan, which can be resumed.

    Example:
        class Turntable:
            async def home(self) -> None:
                await self.send("G28")

            async def move(self, axes: Mapping[str, float]) -> None:
                await self.send(f"G0 A{axes['angle_deg']:.3f}")

            async def close(self) -> None:
                await self.send("M84")
    """

    async def home(self) -> None:
        """Find the place where all axes are 0."""

    async def move(self, axes: Mapping[str, float]) -> None:
        """Go to a place; the axes' names end in their units, such as `angle_deg`, `height_mm`."""

    async def close(self) -> None:
        """Release the motors."""


class SimulatedStage:
    """A simulated stage: takes the time that a real one would.

    `speed` is in units of the axes (degrees, millimetres) a second; the slowest axis counts.

    Example:
        stage = SimulatedStage(speed=90)
    """

    def __init__(self, speed: float = 180.0) -> None:
        if speed <= 0:
            raise ValueError(f"the speed is {speed:g}; allowed: above 0")
        self._speed = speed
        self.position: dict[str, float] = {}
        self.moves = 0

    async def home(self) -> None:
        self.position = {}

    async def move(self, axes: Mapping[str, float]) -> None:
        ways = [abs(value - self.position.get(name, 0.0)) for name, value in axes.items()]
        await asyncio.sleep(max(ways, default=0.0) / self._speed)
        self.position = dict(axes)
        self.moves += 1

    async def close(self) -> None:
        pass
