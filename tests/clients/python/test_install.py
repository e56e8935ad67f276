"""The package installs into an empty environment, and works there without the service."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import camsvc_client
import pytest

from tests.support import endurance
from tests.support.waiting import finished

PACKAGE = Path(camsvc_client.__file__).parents[1]
README = PACKAGE / "README.md"
CONSTRAINTS = PACKAGE.parents[1] / "constraints.txt"

USE = """
import importlib.util, sys
from camsvc_client import CameraClient, Frame
for name in ("camsvc", "numpy", "PIL", "cv2", "typer", "rich"):
    assert importlib.util.find_spec(name) is None, name
with CameraClient(sys.argv[1]) as client:
    picture = client.capture("sim0", timeout=30)
    assert len(picture.data) == picture.capture.image.size_bytes
    try:
        picture.array()
    except ImportError as error:
        print(error)
"""


async def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command where none of ours lies beside it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    return await finished(process, within_s=100)


def installed_mb(environment: Path) -> float:
    (packages,) = environment.glob("lib/*/site-packages")
    return sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) / 1e6


def stated_mb(extra: str) -> float:
    """Return the size that the README gives for an installation."""
    row = rf"^\| `pip install '?clients/python{re.escape(extra)}'?` \|.*\| \+? ?(\d+) MB"
    found = re.search(row, README.read_text(), re.MULTILINE)
    assert found, extra
    return float(found[1])


async def test_it_installs_and_works_alone(address: str, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    python, camctl = (str(environment / "bin" / name) for name in ("python", "camctl"))
    assert (await run(tmp_path, sys.executable, "-m", "venv", str(environment)))[0] == 0
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    install = (*pip, "install", "--quiet", "--constraint", str(CONSTRAINTS))

    before = installed_mb(environment)
    code, out, err = await run(tmp_path, *install, str(PACKAGE))
    if "NewConnectionError" in err or "ConnectTimeoutError" in err:
        pytest.skip("no package index can be reached")
    assert (code, out, err) == (0, "", ""), "without a warning"
    assert await run(tmp_path, *pip, "check") == (0, "No broken requirements found.\n", "")
    bare = installed_mb(environment)
    code, out, err = await run(tmp_path, python, "-X", "dev", "-W", "error", "-c", USE, address)
    assert (code, err) == (0, "")
    assert out == "array() needs numpy and Pillow: pip install camsvc-client[array]\n"
    code, out, err = await run(tmp_path, camctl, "list")
    assert (code, out) == (1, "")
    assert err == "camctl needs more packages: pip install 'camsvc-client[cli]'\n"

    sizes = {"": bare - before}
    if endurance.FULL:
        assert await run(tmp_path, *install, f"{PACKAGE}[cli]") == (0, "", "")
        sizes["[cli]"] = installed_mb(environment) - bare
        said = await run(tmp_path, python, "-W", "error", camctl, "-a", address, "list")
        assert (said[0], said[2]) == (0, "")
        assert [line.split()[0] for line in said[1].splitlines()] == ["CAMERA", "sim0", "sim1"]
    print({extra: round(size, 1) for extra, size in sizes.items()})
    for extra, size in sizes.items():
        assert size == pytest.approx(stated_mb(extra), rel=0.2)
