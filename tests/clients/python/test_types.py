"""The types are those of the package as users see it: right use passes, misuse does not."""

import shutil
import subprocess
import sys
from pathlib import Path

MISUSE = Path(__file__).with_name("typed_misuse.py")


def mypy(folder: Path, file: Path) -> str:
    """Check a file in an empty project, strictly; return what is said."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", file.name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_misuse_does_not_compile(tmp_path: Path) -> None:
    lines = MISUSE.read_text().splitlines()
    misused = sum("# type: ignore" in line for line in lines)
    good = tmp_path / "good.py"
    shutil.copy(MISUSE, good)
    assert mypy(tmp_path, good) == "Success: no issues found in 1 source file\n"
    bad = tmp_path / "bad.py"
    bad.write_text("\n".join(line.split("# type: ignore")[0] for line in lines))
    said = mypy(tmp_path, bad)
    assert f"Found {misused} errors" in said, said
