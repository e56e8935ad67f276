"""Draw the lifecycle's diagram, from its table, into ARCHITECTURE.md; `--check` only compares."""

import sys
from pathlib import Path

from camsvc.model.lifecycle import diagram

PAGE = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
BEGIN, END = "<!-- lifecycle: made by `make diagram` -->\n```mermaid\n", "```\n<!-- /lifecycle -->"


def redrawn(page: str) -> str:
    """Return the page's text with the diagram as the table has it now."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"diagram: {PAGE.name} lacks the lines that mark the diagram's place")
    return before + BEGIN + diagram() + END + after


def main() -> None:
    """Rewrite the page, or with `--check` fail when that would change it."""
    text = PAGE.read_text(encoding="utf-8")
    new = redrawn(text)
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        sys.exit(f"diagram: {PAGE.name} is not what the table gives; run make diagram")


if __name__ == "__main__":
    main()
