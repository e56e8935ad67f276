"""Write the table of both clients' behaviour into docs/clients.md; `--check` only compares."""

import json
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/clients.md"
TABLE: Row = json.loads((ROOT / "clients/behaviour.json").read_text(encoding="utf-8"))
BEGIN, END = "<!-- behaviour: made by `make behaviour` -->\n", "<!-- /behaviour -->"


def title(row: Row) -> str:
    """Return what a row is about, in a few words."""
    case = f" {row['case']}" if "case" in row else ""
    return f"{row['situation']}{case}: {row['doing']}"


def rendered() -> str:
    """Return the table as Markdown."""
    lines = []
    for situation, text in TABLE["situations"].items():
        lines += [f"**{text[0].upper()}{text[1:]}**", "", "| | what the user sees |", "|---|---|"]
        for row in TABLE["rows"]:
            if row["situation"] == situation:
                lines.append(f"| {_doing(row)} | {_seen(row)} |")
        lines.append("")
    return "\n".join(lines)


def _doing(row: Row) -> str:
    return f"{row['doing']}, {row['case']}" if "case" in row else f"{row['doing']}"


def _seen(row: Row) -> str:
    parts = []
    when = row.get("when", "")
    after = f" after `{when}`" if when.endswith("_s") else f" {when}" if when else ""
    if row.get("result"):
        parts.append(f"succeeds{after}")
    if "sees" in row:
        parts.append(", ".join(row["sees"]))
    if "error" in row:
        names = TABLE["errors"][row["error"]]
        parts.append(f"`{names['python']}`, `{names['typescript']}`{after}")
    if "presses" in row:
        parts.append(f"{row['presses']} press of the shutter")
    if row.get("again"):
        parts.append("the picture is there under the error's request id, taken once")
    if "note" in row:
        parts.append(row["note"])
    return "; ".join(parts)


def rewritten(page: str) -> str:
    """Return the page's text with the table as the file has it now."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"behaviour: {PAGE.name} lacks the lines that mark the table's place")
    return f"{before}{BEGIN}\n{rendered()}\n{END}{after}"


def main() -> None:
    """Rewrite the page, or with `--check` fail when that would change it."""
    text = PAGE.read_text(encoding="utf-8")
    new = rewritten(text)
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        sys.exit(f"behaviour: {PAGE.name} is not what the table gives; run make behaviour")


if __name__ == "__main__":
    main()
