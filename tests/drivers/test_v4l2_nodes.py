"""Which V4L2 devices are found, and by which name that lasts."""

import struct
import subprocess
from pathlib import Path

import pytest

from camsvc.drivers.linux import holders, video_nodes


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Two USB webcams with two nodes each, the second webcam without a by-id name."""
    sysfs, dev = tmp_path / "sys/class/video4linux", tmp_path / "dev"
    (dev / "v4l/by-id").mkdir(parents=True)
    (dev / "v4l/by-path").mkdir()
    for number, name in enumerate(["HD Cam", "HD Cam", "Other Cam", "Other Cam"]):
        interface = tmp_path / f"usb{number // 2}/interface"
        interface.mkdir(parents=True, exist_ok=True)
        node = sysfs / f"video{number}"
        node.mkdir(parents=True)
        (node / "device").symlink_to(interface)
        (node / "name").write_text(f"{name}\n")
        (node / "index").write_text(f"{number % 2}\n")
        (dev / f"video{number}").touch()
    (tmp_path / "usb0/serial").write_text("A1\n")
    (dev / "v4l/by-id/usb-HD_Cam-video-index0").symlink_to("../../video0")
    (dev / "v4l/by-path/pci-0-video-index0").symlink_to("../../video0")
    (dev / "v4l/by-path/pci-1-video-index0").symlink_to("../../video2")
    return sysfs, dev


def test_a_camera_is_listed_once_by_its_lasting_name(roots: tuple[Path, Path]) -> None:
    """The nodes here answer no ioctl, as those of another user: each device's first one counts."""
    sysfs, dev = roots
    assert video_nodes.nodes(sysfs, dev) == [
        video_nodes.Node(
            str(dev / "video0"), str(dev / "v4l/by-id/usb-HD_Cam-video-index0"), "HD Cam", "A1"
        ),
        video_nodes.Node(
            str(dev / "video2"), str(dev / "v4l/by-path/pci-1-video-index0"), "Other Cam"
        ),
    ]


def test_without_lasting_names_the_node_is_the_address(roots: tuple[Path, Path]) -> None:
    sysfs, dev = roots
    for link in (dev / "v4l").glob("*/*"):
        link.unlink()
    assert [n.address for n in video_nodes.nodes(sysfs, dev)] == [
        str(dev / f"video{i}") for i in (0, 2)
    ]


def test_a_node_that_is_gone_is_not_listed(roots: tuple[Path, Path]) -> None:
    sysfs, dev = roots
    (dev / "video2").unlink()
    assert [node.name for node in video_nodes.nodes(sysfs, dev)] == ["HD Cam"]


def test_no_v4l2_no_devices(tmp_path: Path) -> None:
    assert video_nodes.nodes(tmp_path / "none", tmp_path) == []


@pytest.mark.parametrize("source", [0, "by-id"])
def test_a_node_is_found_by_index_or_link(roots: tuple[Path, Path], source: int | str) -> None:
    sysfs, dev = roots
    if source == "by-id":
        source = str(dev / "v4l/by-id/usb-HD_Cam-video-index0")
    node = video_nodes.find(source, sysfs, dev)
    assert node is not None
    assert (node.path, node.name, node.serial) == (str(dev / "video0"), "HD Cam", "A1")


def test_a_missing_node_is_not_found(roots: tuple[Path, Path]) -> None:
    assert video_nodes.find(9, *roots) is None


@pytest.mark.parametrize(
    ("device", "node", "expected"),
    [
        (0x84A00001, 0x04200001, True),  # a webcam's first node
        (0x84A00001, 0x04A00000, False),  # its second, for metadata
        (0x04000001, 0, True),  # an old driver that tells of the device only
        (0x84001000, 0x04001000, True),  # multi-planar
        (0x84000002, 0x04000002, False),  # an output
    ],
)
def test_capabilities(device: int, node: int, expected: bool) -> None:
    raw = struct.pack("16s32s32sIII12x", b"uvcvideo", b"Cam", b"usb", 0x60000, device, node)
    assert video_nodes.can_capture(raw) is expected


def test_the_holder_of_a_node_is_named(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    with node.open() as ours, subprocess.Popen(["sleep", "60"], stdin=ours) as other:
        held = holders.holders(node)
        other.kill()
    assert held == [holders.Program("sleep", other.pid)]
    assert holders.holders(node) == []
