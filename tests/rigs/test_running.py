"""A rig that cannot run says why, and is not overlooked in CI."""

import sys

import pytest

from tests.rigs.running import RigMissing, cause, needed, run

PIP_CRASH = """\
ERROR: Exception:
Traceback (most recent call last):
  File "/root/usr/lib/python3/dist-packages/pip/_internal/cli/base_command.py", line 106, in _run
    status = run_func(*args)
  File "/root/usr/lib/python3/dist-packages/pip/_vendor/pyproject_hooks/_impl.py", line 402, in _c
    raise BackendUnavailable(
    ...<4 lines>...
    )
pip._vendor.pyproject_hooks._impl.BackendUnavailable: Cannot import 'setuptools.build_meta'
"""
PIP_BUILD = """\
  error: subprocess-exited-with-error

  × Getting requirements to build wheel did not run successfully.
  │ exit code: 1
  ╰─> [18 lines of output]
      Traceback (most recent call last):
        File "<string>", line 14, in <module>

        File "<string>", line 3, in <module>
      ModuleNotFoundError: No module named 'numpy'
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: Failed to build 'pidng' when getting requirements to build wheel
"""
PIP_COMPILER = """\
  error: subprocess-exited-with-error
  ╰─> [7 lines of output]
      building '_prctl' extension
      _prctlmodule.c:11:10: fatal error: sys/capability.h: No such file or directory
         11 | #include <sys/capability.h>
      compilation terminated.
      error: command '/usr/bin/cc' failed with exit code 1
      [end of output]
ERROR: Failed building wheel for python-prctl
"""
PIP_NONE = """\
WARNING: The directory is not owned by the current user.
ERROR: Could not find a version that satisfies the requirement numpy==99 (from versions: none)
ERROR: No matching distribution found for numpy==99
"""
PIP_OFFLINE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NameResolutionError("pypi.org")'
ERROR: Could not find a version that satisfies the requirement numpy (from versions: none)
"""
APT = """\
W: Download is performed unsandboxed as root
E: Failed to fetch http://deb.debian.org/debian/pool/main/q/qemu.deb  404  Not Found
E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?
"""
CC = """\
port.c: In function 'path_of':
port.c:35:5: warning: unused variable 'x' [-Wunused-variable]
port.c:36:12: error: 'number' undeclared (first use in this function)
cc1: some warnings being treated as errors
"""
LD = """\
/usr/bin/ld: /tmp/ccX.o: in function `main':
x.c:(.text+0x5): undefined reference to `camera_open'
collect2: error: ld returned 1 exit status
"""
NPM = """\
npm error code ERESOLVE
npm error ERESOLVE unable to resolve dependency tree
npm error
npm error A complete log of this run can be found in: /root/.npm/_logs/x.log
"""


def test_without_what_it_needs_a_rig_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="the rig cannot run: no gcc"), needed():
        raise RigMissing("no gcc")


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the rig cannot run: no gcc"), needed():
        raise RigMissing("no gcc")


def test_a_command_that_fails_is_reported_by_its_own_words() -> None:
    with pytest.raises(RigMissing, match="failed: no such thing"):
        run(sys.executable, "-c", "raise SystemExit('no such thing')")
    with pytest.raises(RigMissing, match="failed: exit code 3"):
        run(sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(RigMissing, match="it needs nowhere/to/be/found, which is not installed"):
        run("nowhere/to/be/found")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (PIP_CRASH, "BackendUnavailable: Cannot import 'setuptools.build_meta'"),
        (PIP_BUILD, "ModuleNotFoundError: No module named 'numpy'"),
        (PIP_COMPILER, "fatal error: sys/capability.h: No such file or directory"),
        (PIP_NONE, "ERROR: Could not find a version that satisfies the requirement numpy==99"),
        (PIP_OFFLINE, "connection broken by 'NameResolutionError"),
        (APT, "E: Failed to fetch http://deb.debian.org/debian/pool/main/q/qemu.deb  404"),
        (CC, "port.c:36:12: error: 'number' undeclared"),
        (LD, "undefined reference to `camera_open'"),
        (NPM, "npm error ERESOLVE unable to resolve dependency tree"),
        ("one thing\nanother thing\n\n", "another thing"),
        ("", ""),
    ],
)
def test_the_line_that_says_why_is_chosen(output: str, says: str) -> None:
    found = cause(output)
    assert says in found
    assert "\n" not in found
