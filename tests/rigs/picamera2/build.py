"""Build the rig: a Python with the real Picamera2 on the real libcamera and its virtual cameras.

Debian's packages are unpacked into a folder, not installed: that needs no root and no chroot, and
nothing of the machine changes. Their Python is run by their own dynamic linker. It takes half a
minute and 0.8 GB, once; what has not changed since is kept.

    python -m tests.rigs.picamera2.build
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.rigs import running
from tests.rigs.running import RigMissing, run, update_apt

_HERE = Path(__file__).parent

_SUITE, _BACKPORTS = "trixie", "trixie-backports"
_FROM_BACKPORTS = ("python3-libcamera", "libcamera-ipa")
"""The virtual camera of the suite's own libcamera drops nearly all frames."""
_FROM_SUITE = ("python3-pip", "python3-prctl")
_HEADERS = (f"libcamera-dev/{_BACKPORTS}", "libpython3.13-dev")
"""Fetched without what they depend on: the machine's own compiler uses them."""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PYTHON = """\
#!/bin/sh
# Made by {here}/build.py.
export PYTHONHOME={root}/usr PYTHONPATH={here}/inside:{site}${{PYTHONPATH:+:$PYTHONPATH}}
export RIG_CAMERAS=${{RIG_CAMERAS:-{here}/cameras.yaml}}
export LIBCAMERA_IPA_MODULE_PATH={libraries}/libcamera/ipa
exec {linker} --library-path {libraries} --preload "{shims}" --argv0 "$0" {program} "$@"
"""


def build(cache: Path = running.CACHE / "picamera2") -> Path:
    """Return the rig's Python, made where it is not there yet.

    Raises:
        RigMissing: something that it needs is missing, or could not be fetched.
    """
    for tool in ("apt-get", "dpkg-deb", "cc", "c++"):
        if shutil.which(tool) is None:
            raise RigMissing(f"it needs {tool}, which is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    triplet = run("cc", "-print-multiarch").strip()
    root, site, python = cache / "root", cache / "site", cache / "python"
    libraries = root / "usr" / "lib" / triplet
    shims = [cache / "devices.so", cache / "sensor.so"]

    def write_python() -> None:
        (linker,) = libraries.glob("ld-linux*.so.*")
        (program,) = (root / "usr" / "bin").glob("python3.*[0-9]")
        paths = {"root": root, "site": site, "libraries": libraries, "linker": linker}
        preloaded = " ".join(map(str, shims))
        python.write_text(_PYTHON.format(here=_HERE, program=program, shims=preloaded, **paths))
        python.chmod(0o755)

    requirements = _HERE / "requirements.txt"
    include = root / "usr" / "include"
    shared = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o")
    camera = (libraries / "libcamera.so", libraries / "libcamera-base.so")
    flags = ("-std=c++20", "-I", include / "libcamera", *camera, "-Wl,--allow-shlib-undefined")
    steps: Sequence[tuple[Path, object, Callable[[], object]]] = [
        (root, (_FROM_BACKPORTS, _FROM_SUITE, _HEADERS), lambda: _unpack(root, cache / "apt")),
        (
            shims[0],
            (_HERE / "devices.c").read_text(),
            lambda: run("cc", *shared, shims[0], _HERE / "devices.c"),
        ),
        (
            shims[1],
            (_HERE / "sensor.cpp").read_text(),
            lambda: run("c++", *shared, shims[1], _HERE / "sensor.cpp", *flags),
        ),
        (python, (_PYTHON, _HERE), write_python),
        # One of them is compiled, with the headers of the Python that it is for.
        (
            site,
            requirements.read_text(),
            lambda: _install(python, site, requirements, {"CPATH": str(include), "CC": "cc"}),
        ),
    ]
    for made, inputs, make in steps:
        _once(made, repr((cache, inputs)), make)
    return python


def _once(made: Path, inputs: str, make: Callable[[], object]) -> None:
    """Make something, unless it is there and of the same inputs."""
    stamp = made.with_name(f"{made.name}.made")
    digest = hashlib.sha256(inputs.encode()).hexdigest()
    if made.exists() and stamp.exists() and stamp.read_text() == digest:
        return
    stamp.unlink(missing_ok=True)
    make()
    stamp.write_text(digest)


def _unpack(root: Path, apt: Path) -> None:
    """Fetch the packages, and unpack them; apt works in a folder of its own."""
    archives = apt / "archives"
    for folder in (apt / "lists" / "partial", archives / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    mirror = _mirror()
    (apt / "sources.list").write_text(
        "".join(
            f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n" for suite in (_SUITE, _BACKPORTS)
        )
    )
    (apt / "apt.conf").write_text(
        f'Dir::State "{apt}"; Dir::State::status "{apt}/status"; Dir::Cache "{apt}";\n'
        f'Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "/dev/null";\n'
        'Dir::Etc::preferencesparts "/dev/null"; Dir::Etc::preferences "/dev/null";\n'
        'APT::Install-Recommends "false"; APT::Sandbox::User ""; Acquire::Languages "none";\n'
    )
    config = {"APT_CONFIG": str(apt / "apt.conf")}
    download = ("apt-get", "install", "--download-only", "--yes", "-qq")
    run("apt-get", "update", "-qq", "--error-on=any", env=config)
    run(*download, "--target-release", _BACKPORTS, *_FROM_BACKPORTS, env=config)
    run(*download, *_FROM_SUITE, env=config)
    run("apt-get", "download", "-qq", *_HEADERS, env=config, cwd=archives)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for package in sorted(archives.glob("*.deb")):
        run("dpkg-deb", "--extract", package, root)
    shutil.rmtree(apt)


def _mirror() -> str:
    """Return where apt gets Debian's packages from."""
    if not _KEYRING.exists():
        raise RigMissing("it needs Debian's keys: apt-get install debian-archive-keyring")
    if mirror := os.environ.get("DEBIAN_MIRROR") or _known_mirror():
        return mirror
    update_apt()
    if mirror := _known_mirror():
        return mirror
    raise RigMissing("it needs the address of a Debian mirror in DEBIAN_MIRROR: apt has none")


def _known_mirror() -> str | None:
    known = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(SITE)")
    debian = [line.split() for line in known.splitlines() if line.startswith("Debian ")]
    return next((site for _, release, site in debian if "security" not in release), None)


def _install(python: Path, site: Path, requirements: Path, env: Mapping[str, str]) -> None:
    shutil.rmtree(site, ignore_errors=True)
    pip = (python, "-m", "pip", "install", "--quiet", "--root-user-action=ignore")
    run(*pip, "--no-deps", "--target", site, "--requirement", requirements, env=env)
    # It works; and what is imported is kept compiled, else each worker would compile it again.
    run(python, "-c", "import picamera2, cv2, pickle", env={"PYTHONDONTWRITEBYTECODE": ""})


if __name__ == "__main__":
    print(build())
