"""Measure the rooms of `camsvc` from its imports: `python -m scripts.rooms`.

A room is what lies at the package's top: a folder, or a file. One room has an arrow to another
where any file of it imports any file of the other. A room's floor is the length of the longest way
down from it. Arrows to the ground, which everything stands on, are not counted or drawn.
"""

import functools
import sys
from collections.abc import Mapping

import grimp

PACKAGE = "camsvc"
GROUND = frozenset({"model", "system"})
MOST_ROOMS, MOST_FLOORS, MOST_ARROWS = 24, 9, 60

Arrows = Mapping[str, frozenset[str]]


def arrows() -> Arrows:
    """Return each room with the rooms that it imports."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        room = _room(module)
        imported = map(_room, graph.find_modules_directly_imported_by(module))
        if room:
            found.setdefault(room, set()).update(other for other in imported if other != room)
    return {room: frozenset(others - {""}) for room, others in sorted(found.items())}


def mutual(rooms: Arrows) -> list[tuple[str, str]]:
    """Return the pairs of rooms that import each other."""
    return [
        (a, b) for a, others in rooms.items() for b in sorted(others) if a < b and a in rooms[b]
    ]


def floors(rooms: Arrows) -> dict[str, int]:
    """Return each room's floor, from 1. No two rooms may import each other, by any way."""

    @functools.cache
    def floor(room: str) -> int:
        return 1 + max(map(floor, rooms[room]), default=0)

    return {room: floor(room) for room in rooms}


def counted(rooms: Arrows) -> int:
    """Return the number of arrows, without those to the ground."""
    return sum(len(others - GROUND) for others in rooms.values())


def diagram(rooms: Arrows) -> str:
    """Return the rooms as a Mermaid flow chart, without the ground."""
    lines = ["flowchart TD"]
    for room, others in rooms.items():
        lines += [f"    {_label(room)} --> {_label(other)}" for other in sorted(others - GROUND)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the measures; fail where a bound is passed."""
    rooms = arrows()
    pairs = mutual(rooms)
    if pairs:
        sys.exit(f"rooms: these import each other: {pairs}")
    by_floor = floors(rooms)
    height, number = max(by_floor.values()), counted(rooms)
    for floor in range(height, 0, -1):
        print(f"{floor:3}  {', '.join(room for room in rooms if by_floor[room] == floor)}")
    print(f"{len(rooms)} rooms (at most {MOST_ROOMS}), {height} floors (at most {MOST_FLOORS}), ")
    print(f"{number} arrows between them (at most {MOST_ARROWS}), those to the ground not counted")
    if len(rooms) > MOST_ROOMS or height > MOST_FLOORS or number > MOST_ARROWS:
        sys.exit("rooms: too many")


def _room(module: str) -> str:
    return [*module.split("."), ""][1]


def _label(room: str) -> str:
    return "main[__main__]" if room == "__main__" else room


if __name__ == "__main__":
    main()
