"""What the documentation shows works as it stands there."""

import ast
import asyncio
import inspect
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import camsvc_client
import pytest
from camsvc_client import AsyncCameraClient, CameraClient, scanner
from camsvc_client.camctl import exits

from tests.clients.python.command import Camctl
from tests.conftest import StartService
from tests.support.scenes import camera
from tests.support.service import Service

README = Path(camsvc_client.__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
DEFAULT = "127.0.0.1:50051"
MOST_LINES = 10


def test_capture_and_live_view_take_ten_lines() -> None:
    first = BLOCKS[0]
    assert "timeout" in first
    assert "live_view" in first
    assert len([line for line in first.splitlines() if line.strip()]) <= MOST_LINES


@pytest.mark.parametrize("number", range(len(BLOCKS)))
async def test_each_example_of_the_readme_runs(address: str, tmp_path: Path, number: int) -> None:
    assert DEFAULT in BLOCKS[number]
    script = BLOCKS[number].replace(DEFAULT, address)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", script),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err.decode()) == (0, "")
    assert out


def commands(text: str) -> list[tuple[str, str]]:
    """Return what is typed in the console blocks, each with what is answered there."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL)).replace("\\\n", "")
    asked = re.findall(r"^\$ (camctl .*)\n((?:[^$].*\n)*)", blocks, re.MULTILINE)
    # A full scan takes a minute.
    return [(command.replace("36x4", "4x1"), answer) for command, answer in asked]


def alike(text: str) -> list[str]:
    """Return lines as they are but for figures and gaps."""
    return [" ".join(re.sub(r"[\d.]+", "#", line).split()) for line in text.splitlines()]


async def test_each_command_of_the_readme_answers_as_shown(
    start_service: StartService, tmp_path: Path
) -> None:
    alone = await start_service(camera(width_px=1280, height_px=720, capture_duration_s=0.1))
    pair = await start_service(camera("left") + camera("right"))
    async with AsyncCameraClient(alone.address) as client:
        await client.capture("sim0")
    asked = commands(README.read_text())
    assert len(asked) == 3
    for command, answer in asked:
        address = pair.address if "scan" in command else alone.address
        said = await Camctl(tmp_path, address)(*shlex.split(command)[1:])
        assert (said.code, alike(said.out)) == (0, alike(answer)), said.err


async def test_the_commands_of_the_scanner_example_run(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(camera("left") + camera("right"))
    example = README.parent / "examples" / "scanner"
    shutil.copy(example / "turntable.py", tmp_path)
    ((command, _),) = commands((example / "README.md").read_text())
    said = await Camctl(tmp_path, service.address)(*shlex.split(command)[1:])
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == "vase: 8 pictures, manifest.csv and .json"
    assert said.out.count("M400") == 4
    assert (tmp_path / "vase" / "contact-sheet.jpg").exists()


def test_the_exit_codes_are_those_of_the_readme() -> None:
    table = re.findall(r"^\| (\d+) \| (.*) \|$", README.read_text(), re.MULTILINE)
    assert exits.help_text() == "Exit codes: " + "; ".join(map(" ".join, table)) + "."


def documented() -> dict[str, Any]:
    """Return what users see, by name."""
    modules = {"": camsvc_client, "scanner.": scanner}
    found = {
        prefix + name: getattr(module, name)
        for prefix, module in modules.items()
        for name in module.__all__
    }
    kinds = (inspect.isclass, inspect.isfunction)
    things = {name: thing for name, thing in found.items() if any(is_a(thing) for is_a in kinds)}
    for name in dir(AsyncCameraClient):
        if not name.startswith("_") and name not in ("close", "address"):
            things[f"AsyncCameraClient.{name}"] = getattr(AsyncCameraClient, name)
    return things


def example(thing: object) -> str | None:
    """Return the example in a docstring."""
    text = inspect.getdoc(thing) or ""
    found = re.search(r"^Example:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    return textwrap.dedent(found.group(1)) if found else None


@pytest.mark.parametrize("name", sorted(documented()))
def test_everything_public_has_an_example_that_compiles(name: str) -> None:
    code = example(documented()[name])
    assert code, f"{name} has no example"
    if code.startswith("except"):
        code = f"try:\n    pass\n{code}"
    compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


METHODS = sorted(n.split(".")[1] for n in documented() if n.startswith("AsyncCameraClient."))


@pytest.fixture
async def service(start_service: StartService) -> Service:
    return await start_service(camera() + camera("sim1"))


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
async def test_the_example_of_each_method_runs(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with AsyncCameraClient(service.address) as client:
        for method in METHODS:
            capture_id = (await client.capture("sim0")).capture.capture_id
            names = vars(camsvc_client) | {"pb": sys.modules["camapi.v1.camera_pb2"]}
            names |= {"capture_id": capture_id, "print": lambda *_: None}
            if kind == "asyncio":
                code = example(getattr(AsyncCameraClient, method))
                await _run(code, names | {"client": client})
            else:
                code = example(getattr(CameraClient, method))
                await asyncio.to_thread(_run_blocking, code, names, service.address)


async def _run(code: str | None, names: dict[str, Any]) -> None:
    assert code
    compiled = compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = eval(compiled, names)
    if inspect.iscoroutine(waiting):
        await waiting


def _run_blocking(code: str | None, names: dict[str, Any], address: str) -> None:
    assert code
    with CameraClient(address) as client:
        exec(compile(code, "example", "exec"), names | {"client": client})
