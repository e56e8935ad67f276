"""A driver that does what no camera's library needs, once it is taken over: deeds by name.

Its setting `order` is a file that has the deed's name and its target, a line each. The still has a
warning of what the deed has brought, or by which error it was refused.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from camsvc.drivers.base import Driver, DriverState
from camsvc.model.values import DeviceInfo, Frame, Shot
from tests.support.misdeeds import TINY_JPEG

_PTRACE_SEIZE = 0x4206
_BOMB = 100
_EATEN_BYTES = 600 << 20

DEEDS: dict[str, Callable[[str], object]] = {}


def deed(function: Callable[[str], object]) -> Callable[[str], object]:
    DEEDS[function.__name__] = function
    return function


class Escapes(Driver):
    """Does the deed that it is ordered to."""

    name = "escapes"

    def __init__(self, settings: Mapping[str, object], state: DriverState) -> None:
        self._order = Path(str(settings["order"]))

    def open(self) -> DeviceInfo:
        return DeviceInfo(model="escapes", formats=["JPEG"])

    def capture(self, shot: Shot) -> Frame:
        name, target = self._order.read_text().split("\n")
        try:
            outcome = f"done: {DEEDS[name](target)}"
        except (OSError, KeyError) as error:
            outcome = f"refused: {type(error).__name__}"
        acquired_ns = time.time_ns()
        return Frame(acquired_ns, encoded=TINY_JPEG, mime_type="image/jpeg", warnings=[outcome])

    def close(self) -> None:
        pass


@deed
def nothing(_: str) -> None:
    pass


# Files.


@deed
def read_a_file(path: str) -> int:
    return len(Path(path).read_bytes())


@deed
def write_into_a_file(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"x")


@deed
def empty_a_file(path: str) -> None:
    os.truncate(path, 0)


@deed
def delete_a_file(path: str) -> None:
    os.unlink(path)


@deed
def rename_a_file(path: str) -> None:
    os.rename(path, f"{path}.renamed")


@deed
def link_a_file(path: str) -> None:
    os.link(path, f"{path}.linked")


@deed
def put_a_link_in_place_of_a_file(path: str) -> None:
    os.symlink("/etc/passwd", f"{path}.link")


@deed
def make_a_file(path: str) -> None:
    Path(path).write_bytes(b"x")


@deed
def open_it_by_another_name(path: str) -> int:
    """By way of a magic link, which needs no name of the folder's."""
    fd = os.open(os.path.dirname(path), os.O_PATH)
    return len(Path(f"/proc/self/fd/{fd}/{os.path.basename(path)}").read_bytes())


@deed
def change_a_mode(path: str) -> None:
    os.chmod(path, 0)


# Processes.


@deed
def kill(pid: str) -> None:
    os.kill(int(pid), 9)


@deed
def kill_the_group_of(pid: str) -> None:
    os.killpg(os.getpgid(int(pid)), 9)


@deed
def trace(pid: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(_PTRACE_SEIZE, int(pid), None, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@deed
def read_the_memory_of(pid: str) -> int:
    maps = Path(f"/proc/{pid}/maps").read_text().split("-")[0]
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(int(maps, 16))
        return len(memory.read(16))


@deed
def take_a_descriptor_of(pid: str) -> str:
    return os.readlink(f"/proc/{pid}/fd/1")


@deed
def read_the_environment_of(pid: str) -> int:
    return len(Path(f"/proc/{pid}/environ").read_bytes())


@deed
def fork_a_bomb(path: str) -> int:
    """Start many processes, each on a way of its own; they do not end with anybody."""
    pids = []
    for _ in range(_BOMB):
        if (pid := os.fork()) == 0:
            with contextlib.suppress(OSError):  # then it stays where it is
                os.setsid()
            while True:
                time.sleep(1000)
        pids.append(pid)
    Path(path).write_text(" ".join(map(str, pids)))
    return len(pids)


@deed
def eat_memory(_: str) -> int:
    return len(bytearray(_EATEN_BYTES))


@deed
def eat_memory_in_a_library(_: str) -> None:
    """As a library in C++ does that does not expect to get none."""
    library = ctypes.CDLL("libstdc++.so.6")
    operator_new = library["_Znwm"]
    operator_new(ctypes.c_size_t(_EATEN_BYTES))


@deed
def run_a_program_as_its_owner(path: str) -> str:
    """Return the user's id that a program has which is to run as another user."""
    return subprocess.run([path, "-u"], capture_output=True, text=True, check=True).stdout.strip()


@deed
def read_the_environment(name: str) -> str:
    return os.environ[name]


# Networks.


@deed
def serve_on_a_port(_: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


@deed
def connect_to_an_abstract_socket(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{name}")


# What libraries do, and may.


@deed
def what_libraries_do(port: str) -> None:
    Path("/etc/passwd").read_bytes()
    Path(os.devnull).write_bytes(b"x")
    os.listdir("/")
    os.listdir(tempfile.gettempdir())
    with socket.create_connection(("127.0.0.1", int(port))) as client:
        client.sendall(b"x")
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
    subprocess.run([sys.executable, "-c", ""], check=True)
    child = subprocess.Popen(["sleep", "1000"])
    child.kill()
    child.wait()
