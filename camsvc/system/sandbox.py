"""What a worker is kept from: all that its driver's libraries do not need.

The worker does this to itself, while it has one thread, and before anything of its driver's runs.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence

from camsvc.system import landlock, seccomp
from camsvc.system.privileges import give_up_privileges

_VARIABLES = (
    *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "USER"),
    *("CAMLIBS", "GLIBC_TUNABLES", "IOLIBS", "SSL_CERT_DIR", "SSL_CERT_FILE", "VIRTUAL_ENV"),
)
_PREFIXES = (
    *("LC_", "LD_", "PYTHON", "XDG_"),
    # Those of libraries, for cameras and pictures, and of what these compute and log with.
    *("ARV_", "BLIS_", "CUDA_", "GENICAM_", "GOMP_", "GST_", "KMP_", "LIBCAMERA_", "LIBUSB_"),
    *("LIBV4L", "LTTNG_", "MALLOC_", "MKL_", "MVCAM_", "MVIMPACT_", "NVIDIA_", "OMP_"),
    *("OPENBLAS_", "OPENCL_", "OPENCV_", "PYLON_", "SPINNAKER_", "V4L2_", "VIMBA_"),
)

_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - not to make files in them
_DESCRIPTORS = 4096
_MORE_TASKS = 2048
"""Threads and processes that there may be beyond those that the whole machine has now: the kernel
counts all of a user's, those of the service and of a desktop, too."""


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of a service's variables that a worker is given: no secret is among them."""
    return {
        name: value
        for name, value in variables.items()
        if name in _VARIABLES or name.startswith(_PREFIXES)
    }


def available() -> str:
    """Return what this system has for it, in words; "" where files cannot be kept from a worker."""
    version = landlock.version()
    kept = [
        name
        for since, name in (
            (landlock.FILES, "files"),
            (landlock.TCP, "servers"),
            (landlock.SCOPES, "signals"),
        )
        if version >= since
    ]
    return f"{', '.join(kept)} (Landlock {version})" if kept else ""


def enter(hidden: str, writable: Sequence[str], memory_bytes: int) -> str:
    """Confine this process, and what it starts; return in words what it is kept from.

    It cannot read what is in the folder `hidden`, nor write anywhere but to devices, to temporary
    files and into what is `writable`. `memory_bytes` is what it may have of its own.

    Raises:
        OSError: files cannot be kept from it; the rest is in force.
    """
    give_up_privileges()
    _limit(resource.RLIMIT_DATA, memory_bytes)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/loadavg") as file:
        tasks = int(file.read().split()[3].partition("/")[2])
        _limit(resource.RLIMIT_NPROC, tasks + _MORE_TASKS)
    _end_first()
    modes = "; modes (seccomp)" if seccomp.refuse_calls() else ""
    rules = landlock.Rules()
    hidden = os.path.realpath(hidden)
    for folder in ("/", *_programs()):
        rules.allow(_around(folder, hidden), landlock.READ)
    rules.allow(_around("/dev", hidden), landlock.CHANGE)
    asked_for = (os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP"))
    for folder in {os.path.realpath(name) for name in (*_TEMPORARY, *asked_for) if name}:
        rules.allow(_around(folder, hidden), landlock.WRITE)
    rules.allow(writable, landlock.READ | landlock.WRITE)
    rules.enforce()
    return f"{available()}{modes}"


def _limit(kind: int, most: int) -> None:
    """Set a limit, hard as well, unless there is a lower one."""
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or hard > most:
        resource.setrlimit(kind, (most, most))


def _end_first() -> None:
    """Have the kernel end this process, rather than another, where all memory is taken."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _programs() -> set[str]:
    """Return where this process's programs lie: they may lie in the hidden folder, too."""
    return {os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, *sys.path) if place}


def _around(folder: str, hidden: str) -> Iterator[str]:
    """Yield a folder; where `hidden` lies in it, all that is beside the way to that.

    What comes to be there later is not among it: only the folder itself would stand for that.
    """
    if folder == hidden:
        return
    if os.path.commonpath([folder, hidden]) != folder:
        yield folder
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_symlink():  # its target has a way of its own
                yield from _around(entry.path, hidden)
