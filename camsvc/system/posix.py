"""The seam between operating systems: what differs from one to another is here, and only here.

One of `posix.py` and, to come, `windows.py`, with the same functions: there a temporary file, a
socket that is shared, inherited handles and a job object take the place of what is used here. The
drivers have a seam of their own for the devices, `drivers/linux`.
"""

import contextlib
import ctypes
import errno
import faulthandler
import math
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from typing import TypedDict

_PR_SET_PDEATHSIG = 1

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_POOLED_BYTES, _KEPT_BYTES = 16 << 20, 64 << 20

_DESCRIPTORS = 65_536
_OPEN_DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_STDERR = 2

_MFD_NOEXEC_SEAL = 8
"""Systems may refuse memory that could be run: `vm.memfd_noexec`."""

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than a `struct timex` has."""


def reason(error: OSError) -> str:
    """Return the system's words for an error, without the path that it is about."""
    name = errno.errorcode.get(error.errno or 0, "no number")
    return f"{error.strerror or 'an error'} ({name})"


def open_standard_streams() -> None:
    """Open what this process was started without of stdin, stdout and stderr.

    What is opened next would get its number, and what libraries say would go there.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(fd)


def nameless_file(most_bytes: int) -> int:
    """Return the descriptor of a file in memory that no folder knows, and that nobody can run.

    Raises OSError, also where no file may grow to `most_bytes`.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if _rank(limit) < most_bytes:
        why = f"a file may have {limit:,} bytes here (ulimit -f), and {most_bytes:,} are needed"
        raise OSError(errno.EFBIG, why)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # Linux before 6.3
            return os.memfd_create("camsvc-worker", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
        return os.memfd_create("camsvc-worker")
    with tempfile.TemporaryFile() as unlinked:  # type: ignore[unreachable]
        return os.dup(unlinked.fileno())


def read_at(fd: int, size_bytes: int, offset: int) -> bytes:
    """Return up to `size_bytes` bytes of a file; less where it is shorter."""
    return os.pread(fd, size_bytes, offset)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` into a file."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def written_bytes(fd: int, offset: int) -> int:
    """Return how many bytes a file has from `offset` on, up to its end or its first hole.

    Holes are what was never written. Where a system does not know them: up to its end.
    """
    left_bytes = max(0, os.fstat(fd).st_size - offset)
    with contextlib.suppress(OSError):  # as also where the file ends before
        return min(left_bytes, os.lseek(fd, offset, os.SEEK_HOLE) - offset)
    return left_bytes


def pool_pictures() -> None:
    """Have malloc reuse the memory of pictures up to 16 MiB instead of mapping it again each time.

    glibc maps and unmaps each block of that size, and the kernel clears its pages one by one: of a
    2 MB picture's way through the service that was the larger part (bench/capture.py: 7 ms with,
    4 ms without). At most 64 MiB of free memory are kept so. Elsewhere: nothing happens.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _POOLED_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_memory() -> None:
    """Give the memory that is free back to the system, that of pictures included.

    glibc by itself gives back only what lies behind everything that is in use.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def raise_limits() -> None:
    """Let this process and its children open as many files as it may, up to 65,536, of any size.

    Not more: some libraries go through all numbers that there may be.
    """
    for limit, most in (
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_FSIZE, resource.RLIM_INFINITY),
    ):
        soft, hard = resource.getrlimit(limit)
        wanted = min((most, hard), key=_rank)
        if _rank(soft) < _rank(wanted):
            with contextlib.suppress(ValueError, OSError):  # where there is a limit of its own
                resource.setrlimit(limit, (wanted, hard))


def _rank(limit: int) -> float:
    return math.inf if limit == resource.RLIM_INFINITY else limit


def is_deleted(fd: int) -> bool:
    """Whether a file that is open has no name any more; there, its bytes stay until it is closed.

    On Windows such a file cannot be deleted, unless it was opened so. Raises OSError.
    """
    return os.fstat(fd).st_nlink == 0


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Check whether files can be made in a folder, without making one. Raises OSError."""
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number))


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process with its parent, whatever it is doing then.

    Linux only; elsewhere a worker ends at the end of its pipe, which needs the GIL. The signal
    comes when the parent's *thread* ends that started this process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before
        os._exit(1)


def report_crashes() -> None:
    """Write the Python stack to stderr on a crash, and when `ask_for_stack` is called."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    with contextlib.suppress(ValueError, OSError):
        # Writing a core file would hold the camera for seconds after a crash.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class ChildOptions(TypedDict):
    """Arguments of `subprocess.Popen`."""

    pass_fds: tuple[int, ...]
    process_group: int


def child_options(*inherited: int) -> ChildOptions:
    """Return what starts a child that inherits descriptors, for `kill_group` to end."""
    return ChildOptions(pass_fds=inherited, process_group=0)


def signal_name(exit_code: int) -> str | None:
    """Return the signal by which a process ended, from its exit code; None: by itself."""
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return None


def kill_group(leader_pid: int) -> None:
    """Kill a process that leads a group, and those it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader_pid, signal.SIGKILL)


def ask_for_stack(pid: int) -> None:
    """Have a process that called `report_crashes` write where it hangs; it goes on."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)


def busy_s() -> float:
    """Return for how long this thread has had work to do so far, waits for a processor included.

    On other systems than Linux, without those.
    """
    waited_ns = 0
    with contextlib.suppress(OSError), open("/proc/thread-self/schedstat", "rb") as file:
        waited_ns = int(file.read().split()[1])
    return time.thread_time() + waited_ns / 1e9


def clock_is_synchronized() -> bool:
    """Whether the kernel says that its wall clock is set by a network, or by a receiver.

    That is over once somebody else sets it. Linux only; elsewhere, and where a container may not
    ask: False.
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(AttributeError):  # another C library
        asked = ctypes.create_string_buffer(_TIMEX_BYTES)  # zeros: nothing is to be changed
        state: int = ctypes.CDLL(None).adjtimex(asked)
        return 0 <= state < _TIME_ERROR
    return False


def drop_cached(fd: int) -> None:
    """Give back the memory that the system caches a synced file in; where it cannot, it stays."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder last: what was renamed into it is there after a power cut.

    Windows cannot, and does it by itself. Raises OSError.
    """
    if sys.platform != "win32":
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def descriptor_limit() -> int:
    """Return how many descriptors this process may have; 65,536 where there is no limit."""
    return int(min(_rank(resource.getrlimit(resource.RLIMIT_NOFILE)[0]), _DESCRIPTORS))


def connected(port: int) -> list[tuple[str, int]]:
    """Return the hosts and ports that are connected to a port that this process listens on."""
    return [peer for _, peer in _accepted(port)]


def disconnect(port: int, peers: Collection[tuple[str, int]]) -> None:
    """End connections to a port that this process listens on, whatever owns them here."""
    for connection, peer in _accepted(port):
        if peer in peers:
            with contextlib.suppress(OSError):  # it has just ended
                connection.shutdown(socket.SHUT_RDWR)


def _accepted(port: int) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """Yield the connections to a port and their peers; each is to be used before the next.

    None where the system does not say what is open.
    """
    names = os.listdir(_OPEN_DESCRIPTORS) if os.path.isdir(_OPEN_DESCRIPTORS) else ()
    for name in names:
        # Of a duplicate, nobody else closes the number meanwhile.
        with contextlib.suppress(OSError), _duplicate(int(name)) as connection:
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                here, peer = connection.getsockname(), connection.getpeername()
                if here[1] == port:
                    yield connection, (peer[0], peer[1])


def _duplicate(fd: int) -> socket.socket:
    """Return another descriptor of a socket. Raises OSError, also where it is none."""
    duplicate = os.dup(fd)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
