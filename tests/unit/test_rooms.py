"""The walls between the rooms: forbidden imports, planted one at a time in a copy of the tree."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import diagram, rooms

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = [each["name"] for each in PYPROJECT["tool"]["importlinter"]["contracts"]]

PLANTED = [
    ("Rooms import downwards only", "camsvc/live/feed.py", "camsvc.camera.camera"),
    ("Rooms import downwards only", "camsvc/config/settings.py", "camsvc.camera.camera"),
    ("Rooms import downwards only", "camsvc/logs.py", "camsvc.camera.camera"),
    ("Rooms import downwards only", "camsvc/storage/retention.py", "camsvc.live.feed"),
    ("Rooms import downwards only", "camsvc/a_file_without_a_room.py", "os"),
    ("The service never imports", "camsvc/camera/supervisor.py", "camsvc.drivers.opencv.camera"),
    ("The service never imports", "camsvc/metrics.py", "camsvc.worker.loop"),
    ("The service never imports", "camsvc/storage/thumbnails.py", "cv2"),
    ("The service never imports", "camsvc/storage/thumbnails.py", "PIL.Image"),
    ("A worker imports the standard library", "camsvc/worker/loop.py", "structlog"),
    ("A worker imports the standard library", "camsvc/drivers/v4l2/camera.py", "gphoto2"),
    ("A worker imports the standard library", "camsvc/model/errors.py", "camsvc.config.settings"),
    ("What runs in a worker", "camsvc/drivers/v4l2/device.py", "camsvc.drivers.v4l2.settings"),
    ("Drivers know nothing", "camsvc/drivers/v4l2/camera.py", "camsvc.drivers.opencv.source"),
    ("Only api and the faces", "camsvc/storage/retention.py", "camapi.v1.camera_pb2"),
    ("Only grpc_server imports gRPC", "camsvc/storage/thumbnails.py", "grpc"),
    ("Only grpc_server imports gRPC", "camsvc/api/service.py", "grpc"),
    ("One direction in the Python client", "camsvc_client/retry.py", "camsvc_client.aio"),
    ("One direction in the Python client", "camsvc_client/a_file_without_a_place.py", "os"),
    ("One direction in the scanner", "camsvc_client/scanner/plan.py", "camsvc_client.scanner.run"),
    ("One direction in camctl", "camsvc_client/camctl/output.py", "camsvc_client.camctl.app"),
    ("The client does not need the service", "camsvc_client/aio.py", "camsvc.model.errors"),
    ("Only camctl uses Typer and Rich", "camsvc_client/scanner/scan.py", "rich"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of what the contracts look at."""
    copy = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("camsvc", "scripts"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    shutil.copytree(ROOT / "clients/python/camsvc_client", copy / "camsvc_client", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def broken_contracts(tree: Path) -> list[str]:
    """Return the names of the contracts that the tree's imports break."""
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in run.stdout, run.stdout + run.stderr
    return re.findall(r"^(.*) BROKEN", run.stdout, re.MULTILINE)


def test_all_contracts_are_kept(tree: Path) -> None:
    assert broken_contracts(tree) == []


@pytest.mark.parametrize(("contract", "file", "imported"), PLANTED)
def test_a_planted_import_breaks_its_contract(
    tree: Path, contract: str, file: str, imported: str
) -> None:
    path = tree / file
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\nimport {imported}\n")
    try:
        broken = broken_contracts(tree)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
    assert any(name.startswith(contract) for name in broken), broken


def test_each_contract_has_a_planted_import() -> None:
    without = [
        name for name in CONTRACTS if not any(name.startswith(known) for known, _, _ in PLANTED)
    ]
    assert without == []


def test_the_measures_are_within_their_bounds() -> None:
    found = rooms.arrows()
    assert not rooms.mutual(found)
    assert len(found) <= rooms.MOST_ROOMS
    assert max(rooms.floors(found).values()) <= rooms.MOST_FLOORS
    assert rooms.counted(found) <= rooms.MOST_ARROWS


def test_the_page_shows_what_the_code_gives() -> None:
    page = diagram.PAGE.read_text()
    assert diagram.redrawn(page) == page, "run make diagram"


def test_the_files_of_the_architecture_page_exist() -> None:
    page = diagram.PAGE.read_text()
    named = re.findall(r"`(camsvc/[\w/]+\.py|protos/[\w/]+\.proto|clients/[\w/.-]+)`", page)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
