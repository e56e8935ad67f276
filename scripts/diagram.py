"""Draw the lifecycle and the rooms into ARCHITECTURE.md; `--check` only compares."""

import sys
from collections.abc import Callable
from pathlib import Path

from camsvc.model.lifecycle import TRANSITIONS, State
from scripts import rooms

PAGE = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"


def lifecycle() -> str:
    """Return the table of states as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> CLOSED"]
    for state, events in TRANSITIONS.items():
        targets: dict[State, list[str]] = {}
        for event, target in events.items():
            targets.setdefault(target, []).append(event.value)
        lines += [
            f"    {state.value} --> {target.value}: {', '.join(names)}"
            for target, names in targets.items()
        ]
    return "\n".join(lines) + "\n"


DIAGRAMS: dict[str, Callable[[], str]] = {
    "lifecycle": lifecycle,
    "rooms": lambda: rooms.diagram(rooms.arrows()),
}


def redrawn(page: str) -> str:
    """Return the page's text with the diagrams as the code has them now."""
    for name, draw in DIAGRAMS.items():
        begin = f"<!-- {name}: made by `make diagram` -->\n```mermaid\n"
        end = f"```\n<!-- /{name} -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            sys.exit(f"diagram: {PAGE.name} lacks the lines that mark the place of {name!r}")
        page = before + begin + draw() + end + after
    return page


def main() -> None:
    """Rewrite the page, or with `--check` fail when that would change it."""
    text = PAGE.read_text(encoding="utf-8")
    new = redrawn(text)
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        sys.exit(f"diagram: {PAGE.name} is not what the code gives; run make diagram")


if __name__ == "__main__":
    main()
