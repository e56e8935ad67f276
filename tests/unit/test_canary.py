"""The look for a camera's password finds it wherever a test leaves it, and shows it nowhere."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.canary import CANARY, holds

LEAKS = {
    "prints": "print('x' + CANARY)",
    "says": "sys.stderr.write(f'rtsp://u:{CANARY}@h/')",
    "encodes": "print(base64.b64encode(f'user:{CANARY}'.encode()).decode())",
    "logs": "logging.warning(CANARY)",
    "compares": "assert CANARY + 'x' == 'y'",
    "journals": "(tmp_path / 'journal.sqlite3-wal').write_bytes(b'..' + CANARY.encode() + b'..')",
    "named": "pass",
    "innocent": "(tmp_path / 'camsvc.toml').write_text(CANARY)",
}


def test_each_way_to_leave_a_password_is_found(tmp_path: Path) -> None:
    lines = ["import base64, logging, sys, pytest", f"CANARY = {CANARY!r}"]
    for name, leak in LEAKS.items():
        if name == "named":
            lines += [f"@pytest.mark.parametrize('x', [1], ids=['{CANARY}'])"]
        arguments = "tmp_path, x" if name == "named" else "tmp_path"
        lines += [f"def test_{name}({arguments}):", f"    {leak}"]
    (tmp_path / "test_leaks.py").write_text("\n".join(lines))
    command = [*("-m", "pytest", "-p", "tests.support.canary", "-p", "no:cacheprovider", "-q")]
    ran = subprocess.run(
        [sys.executable, *command, "--rootdir", str(tmp_path), str(tmp_path / "test_leaks.py")],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    (tmp_path / "test_leaks.py").unlink()
    found = {
        line.split("::test_")[1].split()[0].partition("[")[0]
        for line in ran.stdout.splitlines()
        if line.startswith(("FAILED", "ERROR"))
    }
    assert found == {*LEAKS} - {"innocent"}, ran.stdout
    assert not holds(ran.stdout + ran.stderr)
