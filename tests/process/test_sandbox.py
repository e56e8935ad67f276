"""What a worker that is taken over could do to the others: the kernel refuses it.

Each deed is done twice: without the sandbox, where it succeeds, and in it.
"""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from camsvc.system import landlock
from tests.support.history import refusal
from tests.support.scenes import camera
from tests.support.service import Service

pytestmark = pytest.mark.skipif(
    landlock.version() < landlock.SCOPES, reason="the kernel has no Landlock of version 6 (6.12)"
)

ROOT = Path(__file__).parents[2]
VARIABLE = "CAMSVC_TEST_SECRET"
MEMORY_BYTES = 400 << 20
MODES = ("off", "auto")
REFUSED = "refused: PermissionError"

FILE_DEEDS = (
    "read_a_file",
    "open_it_by_another_name",
    "write_into_a_file",
    "link_a_file",
    "put_a_link_in_place_of_a_file",
    "make_a_file",
    "change_a_mode",
    "rename_a_file",
    "delete_a_file",
)
PROCESS_DEEDS = (
    "read_the_environment_of",
    "read_the_memory_of",
    "take_a_descriptor_of",
    "trace",
)


class Scene:
    """A service with a camera whose worker was taken over, and another that must not notice."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.folder = folder
        self.mode = mode
        self._order = folder / "order"
        self._order.write_text("nothing\n")
        taken: dict[str, Any] = {
            "driver": "tests.support.escapes:Escapes",
            "env": {"PYTHONPATH": str(ROOT)},
            "options": {"order": str(self._order)},
            "attempts": 1,
            "writable": [],
        }
        settings = f'sandbox = "{mode}"\nworker_memory_bytes = {MEMORY_BYTES}\n'
        settings += camera("taken", **taken) + camera("other", capture_duration_s=0.0)
        self.service = Service(folder, settings, entering=("env", f"{VARIABLE}=x"))

    async def do(self, deed: str, target: object = "") -> str:
        """Have the worker do it; return what came of it."""
        self._order.write_text(f"{deed}\n{target}")
        (warning,) = (await self.service.capture("taken")).capture.warnings
        return warning

    async def worker_of(self, camera_id: str) -> int:
        """Return the process of a camera, which is open then."""
        await self.service.capture(camera_id)
        return (await self.service.camera(camera_id)).camera.worker_pid


@pytest.fixture(params=MODES)
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path, request.param)
    async with scene.service:
        yield scene


async def test_the_data_folder_is_closed_to_workers(scene: Scene) -> None:
    """Each deed meets another's picture, or the journal."""
    allowed = scene.mode == "off"
    data = scene.service.data_dir
    journal = data / "journal.sqlite3"
    before = journal.stat().st_ino
    outcomes = {}
    for deed in FILE_DEEDS:
        await scene.service.capture("other")
        picture = next(data.glob("captures/*/*.jpg"))
        outcomes[deed] = await scene.do(deed, picture)
        for path in picture.parent.glob("*.jpg.*"):
            path.unlink()  # what it has made beside it
    outcomes["read the journal"] = await scene.do("read_a_file", journal)
    outcomes["make one in captures"] = await scene.do("make_a_file", data / "captures" / "a")
    outcomes["make one in data"] = await scene.do("make_a_file", data / "a")
    assert {deed: outcome.startswith("done") for deed, outcome in outcomes.items()} == (
        dict.fromkeys(outcomes, allowed)
    ), outcomes
    if not allowed:
        assert set(outcomes.values()) == {REFUSED}
        assert journal.stat().st_ino == before
        assert len(list(data.glob("captures/*/*"))) == 2 * len(FILE_DEEDS) + 3
        await scene.service.capture("other")


async def test_workers_reach_no_other_process(scene: Scene) -> None:
    """Neither that of another camera nor the service."""
    allowed = scene.mode == "off"
    if allowed and not may_trace():
        pytest.skip("this system lets processes trace none but their own (Yama)")
    service = scene.service.ps.pid
    for target in (service, await scene.worker_of("other")):
        outcomes = {deed: await scene.do(deed, target) for deed in PROCESS_DEEDS}
        assert {deed: outcome.startswith("done") for deed, outcome in outcomes.items()} == (
            dict.fromkeys(outcomes, allowed)
        ), outcomes
    if allowed:
        assert (await refusal(scene.do("kill", service))).code is grpc.StatusCode.UNAVAILABLE
        assert await scene.service.ended() == -signal.SIGKILL
        return
    for deed in ("kill", "kill_the_group_of"):
        assert await scene.do(deed, target) == await scene.do(deed, service) == REFUSED
    await scene.service.capture("other")


def may_trace() -> bool:
    """Whether a process may trace another of the same user, were it not for the sandbox."""
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.getuid() == 0 or not yama.exists() or yama.read_text().strip() == "0"


async def test_a_worker_is_given_no_secret_and_serves_nobody(scene: Scene) -> None:
    allowed = scene.mode == "off"
    with socket.socket(socket.AF_UNIX) as abstract, socket.create_server(("127.0.0.1", 0)) as tcp:
        abstract.bind("\0camsvc-test-" + scene.service.address)
        abstract.listen()
        outcomes = [
            await scene.do("read_the_environment", VARIABLE),
            await scene.do("serve_on_a_port"),
            await scene.do("connect_to_an_abstract_socket", abstract.getsockname()[1:].decode()),
        ]
        assert [outcome.startswith("done") for outcome in outcomes] == [allowed] * 3, outcomes
        # What the libraries of cameras do goes on.
        assert await scene.do("what_libraries_do", tcp.getsockname()[1]) == "done: None"
    details = (await scene.service.camera("taken")).camera.details
    assert (
        details["sandbox"] == "off" if allowed else "files, servers, signals" in details["sandbox"]
    )


async def test_what_a_worker_has_started_ends_with_it(scene: Scene, tmp_path: Path) -> None:
    """Also a hundred processes, each of which has left its group where it may."""
    pids_file = tmp_path / "pids"
    pids_file.touch()
    worker = await scene.worker_of("taken")
    assert await scene.do("fork_a_bomb", pids_file) == "done: 100"
    bomb = [psutil.Process(int(pid)) for pid in pids_file.read_text().split()]
    try:
        assert all(process.is_running() for process in bomb)
        os.kill(worker, signal.SIGKILL)
        if scene.mode == "auto":
            _, left = psutil.wait_procs(bomb, timeout=20)
            assert not left
        else:
            await scene.service.logged("worker ended")
            assert all(process.is_running() for process in bomb)
    finally:
        for process in bomb:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def goes_first(pid: int) -> bool:
    """Whether the kernel ends a process before others where all memory is taken."""
    return Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"


async def test_a_worker_that_eats_memory_is_replaced_and_its_capture_says_so(scene: Scene) -> None:
    assert goes_first(await scene.worker_of("taken")) == (scene.mode == "auto")
    for deed in ("eat_memory", "eat_memory_in_a_library"):
        before = await scene.worker_of("taken")
        if scene.mode == "off":
            assert (await scene.do(deed)).startswith("done")
            continue
        info = await refusal(scene.do(deed))
        assert "memory" in info.message
        assert "worker_memory_bytes" in info.message
        assert (await scene.do("read_a_file", "/etc/passwd")).startswith("done")
        assert await scene.worker_of("taken") != before


async def test_no_program_gets_rights_that_the_worker_has_not(scene: Scene, tmp_path: Path) -> None:
    """A program that is to run as its owner, whoever starts it."""
    if os.getuid() != 0:
        pytest.skip("only root can make a program that runs as another user")
    program = tmp_path / "id"
    shutil.copy(shutil.which("id") or "", program)
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    if os.statvfs(program).f_flag & os.ST_NOSUID:
        pytest.skip("the disk of temporary files runs no program as its owner (nosuid)")
    as_owner = await scene.do("run_a_program_as_its_owner", program)
    assert as_owner == ("done: 65534" if scene.mode == "off" else "done: 0")
