"""Three public collections of JPEGs: Pillow's and thumbor's tests, and EXIF samples of cameras.

The samples, which goexif tests with, are in a package of Debian's. The pictures alone are kept.
"""

import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.rigs import apt, kept
from tests.rigs.running import RigMissing, run

_WANTED = Path(__file__).with_name("requirements.txt")
_SAMPLES = "golang-github-rwcarlsen-goexif-dev"
_SUFFIXES = (".jpg", ".jpeg", ".mpo")


def fetched() -> Path:
    """Return the folder with the collections, fetched when needed: a folder for each.

    Raises:
        RigMissing: they could not be.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise RigMissing(f"it needs {tool}, which is not installed")
    return kept.rig("pictures", [_WANTED, Path(__file__), Path(apt.__file__)], _fetch)


def pictures(folder: Path) -> Iterator[Path]:
    """Yield the JPEGs of a rig, as `fetched` has it, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and path.read_bytes()[:2] == b"\xff\xd8":
            yield path


def _fetch(rig: Path) -> None:
    sources = rig / "sources"
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    only = ("--no-cache-dir", "--no-deps", "--no-binary", ":all:", "--require-hashes")
    run(*pip, *only, "--dest", sources, "--requirement", _WANTED)
    for archive in sources.glob("*.tar.gz"):
        with tarfile.open(archive) as opened:
            members = [m for m in opened if Path(m.name).suffix.lower() in _SUFFIXES]
            opened.extractall(rig, members, filter="data")
    shutil.rmtree(sources)
    packages = apt.Apt(rig / "apt")
    packages.fetch(_SAMPLES)
    packages.unpack(rig / "samples")
    shutil.rmtree(rig / "apt")
    if len(list(pictures(rig))) < 200:
        raise RigMissing("the packages have no pictures any more")
