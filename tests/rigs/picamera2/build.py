"""Build the rig: a Python with the real Picamera2 on the real libcamera and its virtual cameras.

Debian's packages are unpacked into a folder, not installed: that needs no root and no chroot, and
nothing of the machine changes. Their Python is run by their own dynamic linker. It takes half a
minute and 0.4 GB, once for each recipe (`tests/rigs/kept.py`).

    python -m tests.rigs.picamera2.build
"""

import shutil
from pathlib import Path

from tests.rigs import apt, kept
from tests.rigs.running import RigMissing, run

_HERE = Path(__file__).parent
_INSIDE = sorted((_HERE / "inside").glob("*.p*"))

_SUITE, _BACKPORTS = "trixie", "trixie-backports"
_FROM_BACKPORTS = ("python3-libcamera", "libcamera-ipa")
"""The virtual camera of the suite's own libcamera drops nearly all frames."""
_FROM_SUITE = ("python3-pip", "python3-prctl")
_HEADERS = (f"libcamera-dev/{_BACKPORTS}", "libpython3.13-dev")
"""Fetched without what they depend on: the machine's own compiler uses them."""

_TOOLS = {
    "apt-get": "",
    "dpkg-deb": "apt-get install dpkg",
    "cc": "apt-get install gcc libc6-dev",
    "c++": "apt-get install g++",
}

_PYTHON = """\
#!/bin/sh
rig=$(CDPATH= cd -- "${{0%/*}}" && pwd)
libraries=$rig/root/usr/lib/{triplet}
export PYTHONHOME=$rig/root/usr
export RIG_CAMERAS=${{RIG_CAMERAS:-$rig/cameras.yaml}}
export LIBCAMERA_IPA_MODULE_PATH=$libraries/libcamera/ipa
exec "$libraries/{linker}" --library-path "$libraries" \\
    --preload "$rig/devices.so $rig/sensor.so" --argv0 "$0" "$rig/root/usr/bin/{program}" "$@"
"""


def build() -> Path:
    """Return the rig's Python, made if it is not there yet.

    Raises:
        RigMissing: something that it needs is missing, or could not be fetched.
    """
    for tool, bring in _TOOLS.items():
        if shutil.which(tool) is None:
            raise RigMissing(f"it needs {tool}, which is not installed", bring)
    files = (path for path in _HERE.iterdir() if path.suffix in {".c", ".cpp", ".txt", ".yaml"})
    makers = (Path(__file__), Path(apt.__file__))
    return kept.rig("picamera2", (*files, *_INSIDE, *makers), _make) / "python"


def _make(rig: Path) -> None:
    root = rig / "root"
    _unpack(root, rig / "apt")
    shutil.copy(_HERE / "cameras.yaml", rig)
    triplet = run("cc", "-print-multiarch").strip()
    _compile(rig, root / "usr" / "include", root / "usr" / "lib" / triplet)
    (linker,) = (root / "usr" / "lib" / triplet).glob("ld-linux*.so.*")
    (program,) = (root / "usr" / "bin").glob("python3.*[0-9]")
    python = rig / "python"
    python.write_text(_PYTHON.format(triplet=triplet, linker=linker.name, program=program.name))
    python.chmod(0o755)
    _install(python, root / "usr" / "local" / "lib" / program.name / "dist-packages")


def _unpack(root: Path, work: Path) -> None:
    """Fetch the packages, and unpack them."""
    if not apt.KEYRING.exists():
        raise RigMissing("it needs Debian's keys", "apt-get install debian-archive-keyring")
    mirror = apt.mirror(work / "machine")
    if mirror is None:
        raise RigMissing("it needs the address of a Debian mirror in DEBIAN_MIRROR: apt has none")
    debian = apt.Apt(
        work / "debian",
        [f"deb [signed-by={apt.KEYRING}] {mirror} {suite} main" for suite in (_SUITE, _BACKPORTS)],
    )
    debian.fetch_whole(*_FROM_BACKPORTS, release=_BACKPORTS)
    debian.fetch_whole(*_FROM_SUITE)
    debian.fetch(*_HEADERS)
    debian.unpack(root)
    shutil.rmtree(work)


def _compile(rig: Path, include: Path, libraries: Path) -> None:
    """Compile what is preloaded: the virtual sensor and its devices."""
    shared = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o")
    run("cc", *shared, rig / "devices.so", _HERE / "devices.c")
    camera = (libraries / "libcamera.so", libraries / "libcamera-base.so")
    flags = ("-std=c++20", "-I", include / "libcamera", *camera, "-Wl,--allow-shlib-undefined")
    run("c++", *shared, rig / "sensor.so", _HERE / "sensor.cpp", *flags)


def _install(python: Path, packages: Path) -> None:
    """Install Picamera2 and what it imports into that Python's own folder of packages.

    Without pip's cache, so that each making of the rig is one on a fresh machine. One package is
    compiled, by the machine's compiler with the headers of the Python that it is for. What stands
    in for missing parts comes last: pip builds without it.
    """
    env = {"CPATH": str(python.parent / "root/usr/include"), "CC": "cc"}
    pip = (python, "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--no-cache-dir")
    wanted = _HERE / "requirements.txt"
    run(*pip, "--no-deps", "--target", packages, "--requirement", wanted, env=env)
    shutil.rmtree(packages / "bin", ignore_errors=True)  # commands that name this folder
    for file in _INSIDE:
        shutil.copy(file, packages)
    # It works; and what is imported is kept compiled, else each worker would compile it again.
    run(python, "-c", "import picamera2, cv2, pickle", env={"PYTHONDONTWRITEBYTECODE": ""})


if __name__ == "__main__":
    print(build())
