"""Under pytest-xdist, the webcams' tests are run by one process, which has the one guest."""

import os
import subprocess
import sys
from pathlib import Path

RUN_S = 120
TESTS = """
import os
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(number):
    with open(os.environ["LOG"], "a") as log:
        log.write(f"{__file__} {os.environ['PYTEST_XDIST_WORKER']}\\n")
"""


def test_the_guests_tests_all_go_to_one_process(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "conftest.py").write_text(
        "from tests.rigs.side_by_side import pytest_xdist_make_scheduler\n"
    )
    for rig in ("v4l2", "gphoto2"):
        folder = tmp_path / "tests" / "rigs" / rig
        folder.mkdir(parents=True)
        (folder / f"test_{rig}.py").write_text(TESTS)
    log = tmp_path / "log"
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root), "LOG": str(log)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        timeout=RUN_S,
        check=True,
    )
    ran = [line.split() for line in log.read_text().splitlines()]
    assert len(ran) == 16
    assert len({process for path, process in ran if "v4l2" in path}) == 1
    assert len({process for _, process in ran}) == 2
