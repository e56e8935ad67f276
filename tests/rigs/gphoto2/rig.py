"""libgphoto2's virtual cameras for a test, behind a port library that can make them fail.

The port library is compiled once for each state of its source (`tests/rigs/kept.py`).
"""

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from tests.rigs import kept
from tests.rigs.gphoto2.control import Control
from tests.rigs.running import RigMissing, run

SOURCES = sorted(Path(__file__).with_name("port").iterdir())
MODEL = "Nikon DSC D750"
SERIALS = ("000000600001", "000000600002")
PORTS = ("usb:001,001", "usb:001,002")
_LIVE_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 15]
STILL_PX, LIVE_PX = (800, 600), (640, 480)
_COMPILER = ("gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC")


def _check() -> None:
    """Look whether the rig can run here.

    Raises:
        RigMissing: it cannot.
    """
    if not shutil.which("gcc"):
        raise RigMissing("no gcc to compile its port library with", "apt-get install gcc libc6-dev")
    if importlib.util.find_spec("gphoto2") is None:
        raise RigMissing(
            "gphoto2 is not installed (make install; PyPI has wheels for Linux and macOS)"
        )
    if not _virtual_camera().exists():
        raise RigMissing(
            "this gphoto2 has no virtual camera in it: install the wheel that PyPI has"
        )


def compiled() -> Path:
    """Return the folder with the port library, which is compiled when needed.

    Raises:
        RigMissing: it could not be.
    """
    units = [source for source in SOURCES if source.suffix == ".c"]

    def compile_(folder: Path) -> None:
        run(*_COMPILER, "-o", folder / "faulty_port.so", *units, "-ldl")

    return kept.rig("gphoto2", SOURCES, compile_, facts=_COMPILER)


class Rig:
    """Virtual cameras of one folder: whoever has `env` and `settings` sees the same two."""

    def __init__(self, folder: Path) -> None:
        """Make them.

        Raises:
            RigMissing: they cannot be had here.
        """
        _check()
        card = folder / "card"
        card.mkdir()
        noise = np.random.default_rng(1).integers(0, 255, (*STILL_PX[::-1], 3), np.uint8)
        cv2.imwrite(str(card / "one.jpg"), noise, [cv2.IMWRITE_JPEG_QUALITY, 80])
        # About 100 KB, as the live view of a DSLR has.
        cv2.imwrite(str(folder / "preview.jpg"), noise[: LIVE_PX[1], : LIVE_PX[0]], _LIVE_QUALITY)
        self._card = card
        self.bare_iolibs = _virtual_camera().parent
        """libgphoto2's own folder, whose camera cannot be made to fail."""
        self.control = Control(folder / "control")
        self.env: Mapping[str, str] = {
            "VCAMERADIR": str(card),
            "RIG_VUSB": str(_virtual_camera()),
            "RIG_CONTROL": str(self.control.path),
            "RIG_PREVIEW": str(folder / "preview.jpg"),
        }
        self.settings: Mapping[str, object] = {"port": PORTS[0], "iolibs": str(compiled())}

    def still(self) -> bytes:
        """Return the picture that the cameras take."""
        return (self._card / "one.jpg").read_bytes()

    def close(self) -> None:
        """Unmap the control file."""
        self.control.close()


def _virtual_camera() -> Path:
    spec = importlib.util.find_spec("gphoto2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "libgphoto2" / "vusb" / "vusb.so"
