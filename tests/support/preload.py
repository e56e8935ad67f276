"""C of our own between some processes and their system: `NAME.c`, beside this."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.left_out import lacking
from tests.support.once import made_once


def entering(factory: pytest.TempPathFactory, name: str, file: Path) -> Sequence[str]:
    """Return the command that runs what follows it with `name`, whose variable has a file's path.

    It begins as those of the loader do, which a worker is given, too.

    Leave the test out where that cannot be.
    """
    if sys.platform != "linux":
        lacking("a library can be preloaded like this only on Linux", "")
    if shutil.which("cc") is None:
        lacking("no C compiler", "apt-get install gcc libc6-dev")
    source = Path(__file__).with_name(f"{name}.c")

    def build(folder: Path) -> None:
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(folder / "library.so"), str(source)]
        subprocess.run(command, check=True)

    library = made_once(factory, name, build) / "library.so"
    return ("env", f"LD_PRELOAD={library}", f"LD_{name.upper()}={file}")
