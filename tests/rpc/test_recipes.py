"""The commands that the documentation shows print what it says they print."""

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import StartService
from tests.support.service import Service
from tests.support.waiting import finished

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "127.0.0.1:50051"
"""Where the documents have the service."""
SIM0 = '[[cameras]]\nid = "sim0"\ndriver = "simulated"\n'
"""The camera that `make serve` has without settings."""
ENDS_S = 60.0

TYPESCRIPT = "clients/typescript/README.md"

TESTED_ELSEWHERE = ("make demo",)
"""What has a step of its own in CI."""


@dataclass(frozen=True)
class Recipe:
    """A command, and what it prints: `...` stands for anything."""

    command: str
    prints: str

    def matches(self, printed: str) -> bool:
        lines = [re.escape(line).replace(r"\.\.\.", ".*") for line in self.prints.splitlines()]
        # A line of its own stands for any number of lines.
        pattern = "".join("(?s:.*\n)?" if line == ".*" else f"{line}\n" for line in lines)
        return re.fullmatch(pattern, printed) is not None


def blocks(document: str, language: str) -> list[str]:
    """Return a document's blocks of code in a language."""
    text = (ROOT / document).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def recipes(document: str) -> list[Recipe]:
    """Read those of a document, in its order."""
    found = []
    for block in blocks(document, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", part)
            assert command
            found.append(Recipe(command[0].strip(), part[command.end() :]))
    return [recipe for recipe in found if recipe.command not in TESTED_ELSEWHERE]


async def printed_by(command: str, service: Service, folder: Path) -> str:
    """Run a command as its reader would, in a folder that keeps what it writes."""
    tools = Path(sys.executable).parent
    command = command.replace(".venv/bin/", "").replace(DEFAULT, service.address)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        cwd=folder,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    _, out, _ = await finished(process, within_s=ENDS_S)
    return out


@pytest.mark.parametrize("document", ["docs/grpcurl.md", "README.md"])
async def test_each_command_prints_what_is_written(
    start_service: StartService, tmp_path: Path, document: str
) -> None:
    """One after the other, in one folder: some use what others have made."""
    service = await start_service(SIM0)
    wrong = []
    found = recipes(document)
    for recipe in found:
        printed = await printed_by(recipe.command, service, tmp_path)
        if not recipe.matches(printed):
            wrong.append(f"$ {recipe.command}\n{printed}")
    assert not wrong, "\n".join(wrong)
    assert len(found) >= 5
    assert (tmp_path / "still.jpg").read_bytes()[:2] == b"\xff\xd8"


async def test_each_python_example_runs(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(SIM0)
    examples = blocks("README.md", "python")
    for example in examples:
        script = tmp_path / "example.py"
        script.write_text(example.replace(DEFAULT, service.address), "utf-8")
        assert await printed_by(f"python -W error {script}", service, tmp_path)
    assert len(examples) >= 2
    saved = [name for name in os.listdir(tmp_path) if name.endswith(".jpg")]
    assert len(saved) == 2


def test_the_typescript_example_is_the_clients_own() -> None:
    """Which its tests run."""
    assert blocks("README.md", "ts") == blocks(TYPESCRIPT, "ts")[:1]
