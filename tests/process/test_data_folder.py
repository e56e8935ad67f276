"""The data folder: what is wrong with it is told at start, and what can be is put right."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from camapi.v1 import camera_pb2 as pb
from camsvc_client import error_info

from tests.support import endurance
from tests.support.ledger import Ledger, Reader, captures, last_sequence
from tests.support.scenes import camera
from tests.support.service import CALL_S, Service
from tests.support.smalldisk import SmallDisk
from tests.support.waiting import finished, until

ENDS_S = 60.0
BAD_DATA = 4
JOURNAL = "journal.sqlite3"
PAGE = 4096


async def told(folder: Path, *words: str, entering: Sequence[str] = ()) -> str:
    """The service does not start, and says why and what to do, in a line without a traceback."""
    process = await asyncio.create_subprocess_exec(
        *(*entering, sys.executable, "-m", "camsvc", "serve", "--listen", "127.0.0.1:0"),
        *("--data-dir", str(folder)),
        env={**os.environ, "CAMSVC_SERVICE__METRICS_LISTEN": ""},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, out, said = await finished(process, within_s=ENDS_S)
    assert code == BAD_DATA, (code, out, said)
    assert said.startswith("camsvc: the data folder ")
    assert "Traceback" not in out + said
    assert len(said.splitlines()) == 1
    for word in (str(folder), *words):
        assert word in said
    print(said)
    return said


async def used(folder: Path) -> str:
    """Have a service take a picture and end; return the capture's id."""
    async with Service(folder, camera()) as service:
        return (await service.capture()).capture.capture_id


# Of no use.


async def test_a_journal_of_a_newer_version_is_told(tmp_path: Path) -> None:
    await used(tmp_path)
    data = tmp_path / "data"
    with contextlib.closing(sqlite3.connect(data / JOURNAL)) as db:
        db.execute("PRAGMA user_version = 99")
    before = sizes(data)
    await told(data, "version 99", "a newer camsvc", "another folder")
    assert sizes(data) == before, "nothing was touched"


async def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("not a folder")
    await told(folder, "--data-dir DIR", "service.data_dir")
    assert folder.read_text() == "not a folder"


async def test_a_folder_in_use_is_told(tmp_path: Path) -> None:
    async with Service(tmp_path, camera()) as service:
        await told(tmp_path / "data", "in use by another camsvc", "--data-dir DIR")
        await service.capture()
    await used(tmp_path)


@pytest.mark.parametrize("is_used", [False, True], ids=["new", "used"])
async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, is_used: bool) -> None:
    """A disk that is mounted for reading only, as after an error of it."""
    data = tmp_path / "data"
    async with SmallDisk(data, "size=24m") as disk:
        if is_used:
            async with Service(tmp_path, camera(), entering=disk.entering) as service:
                await service.capture()
        await disk.run("mount", "-o", "remount,ro", str(data))
        await told(data, "--data-dir DIR", entering=disk.entering)
        await disk.run("mount", "-o", "remount,rw", str(data))
        async with Service(tmp_path, camera(), entering=disk.entering) as service:
            await service.capture()
            assert len(await captures(service)) == 1 + is_used


@pytest.mark.parametrize("damage", ["no database", "schema", "table", "cut off"])
async def test_a_damaged_journal_is_told(tmp_path: Path, damage: str) -> None:
    """And the pictures are left alone."""
    await used(tmp_path)
    data = tmp_path / "data"
    path = data / JOURNAL
    content = bytearray(path.read_bytes())
    match damage:
        case "no database":
            content[:16] = b"JFIF" * 4
        case "schema":
            content[100:PAGE] = os.urandom(PAGE - 100)
        case "table":
            content[PAGE:] = b"\xff" * (len(content) - PAGE)
        case "cut off":
            del content[2 * PAGE :]
    path.write_bytes(content)
    before = sizes(data)
    await told(data, "move it away")
    assert sizes(data).items() >= {k: v for k, v in before.items() if "captures" in k}.items()


def sizes(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("place", ["captures", "lock"])
async def test_a_link_in_the_place_of_a_part_is_told(tmp_path: Path, place: str) -> None:
    """And what it leads to is as it was."""
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.write_text("precious")
    (data / place).symlink_to(other)
    await told(data, f"{data / place} is a link to {other}", f"rm {data / place}")
    assert other.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
async def test_a_folder_of_another_user_is_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    await told(data, "belongs to the user nobody", f"chown -R root {data}", "--data-dir DIR")
    assert list(data.iterdir()) == []


async def test_a_folder_that_was_open_to_all_is_made_private(tmp_path: Path) -> None:
    """Of an earlier version, or of somebody in a hurry; while the service runs, and after."""
    await used(tmp_path)
    data = tmp_path / "data"
    for path in (data, *data.iterdir()):
        path.chmod(0o777 if path.is_dir() else 0o666)
    async with Service(tmp_path, camera()) as service:
        await service.capture()
        modes = {path.name: path.stat().st_mode & 0o777 for path in (data, *data.iterdir())}
        made = {e["path"] for e in service.log() if e["event"] == "made private"}
    assert modes.items() >= {"data": 0o700, "staging": 0o700, "captures": 0o700}.items()
    assert {mode for name, mode in modes.items() if name.startswith("journal")} == {0o600}
    assert made >= {str(data), str(data / JOURNAL), str(data / "lock")}


# Put right.


async def test_what_a_sudden_end_leaves_is_put_right_and_reported(tmp_path: Path) -> None:
    """Pictures without a record, records without a picture, captures without an end, staging."""
    ledger, reader = Ledger(tmp_path, endurance.chance()), Reader()
    data = tmp_path / "data"
    settings = camera() + camera("slow", capture_duration_s=CALL_S)
    async with Service(tmp_path, settings) as service:
        kept = await ledger.capture(service, ledger.request("sim0"))
        lost = await ledger.capture(service, request := ledger.request("sim0"))
        call = asyncio.ensure_future(ledger.capture(service, ledger.request("slow")))
        await service.wait_for_state(pb.Camera.STATE_CAPTURING, "slow")

        async def recorded() -> bool:
            return any(capture.camera == "slow" for capture in await captures(service))

        await until(recorded, "the journal has it as running")
        (running,) = [c for c in await captures(service) if c.camera == "slow"]
        service.send(signal.SIGKILL)
        await service.ended()
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    (picture,) = data.glob(f"captures/*/{lost.capture_id}.jpg")
    stranger = picture.rename(picture.with_name("stranger.jpg")).read_bytes()
    # As by an end between its renaming and its row.
    (picture.parent / f"{running.capture_id}.jpg").write_bytes(b"not acknowledged")
    (data / "staging" / "half-written.1").write_bytes(b"half")
    (data / "staging" / "folder").mkdir()

    async with Service(tmp_path, settings) as service:
        log: dict[str, dict[str, Any]] = {entry["event"]: entry for entry in service.log()}
        assert log["capture has lost its picture"]["capture"] == lost.capture_id
        assert log["picture without a capture set aside"]["file"].endswith("/stranger.jpg")
        assert log["the last run ended suddenly"]["unfinished"] == 1
        # The two, and the file of the shot under way, if its worker had come so far.
        assert log["the last run ended suddenly"]["swept"] in (2, 3)
        assert list((data / "staging").iterdir()) == []
        assert [p.stem for p in data.glob("captures/*/*")] == [kept.capture_id]
        assert [p.read_bytes() for p in (data / "orphans").iterdir()] == [stranger]

        states = {c.capture_id: c.state for c in await captures(service)}
        assert states == {
            kept.capture_id: pb.Capture.STATE_SUCCEEDED,
            lost.capture_id: pb.Capture.STATE_FAILED,
            running.capture_id: pb.Capture.STATE_CANCELLED,
        }
        await reader.follow(service, up_to=await last_sequence(service))
        last = reader.events[-1]
        assert (last.type, last.capture_id) == (
            pb.CaptureEvent.TYPE_CANCELLED,
            running.capture_id,
        )
        assert last.capture.error == last.error
        assert "the service ended" in last.error.message

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ledger.download(service, lost.capture_id)
        assert error_info(caught.value).reason == "CAPTURE_NOT_FOUND"
        again = await service.stub.Capture(request, timeout=CALL_S)
        assert not again.replayed
        assert again.capture.capture_id != lost.capture_id

    async with Service(tmp_path, settings) as service:  # nothing is left to be put right
        events = {entry["event"] for entry in service.log()}
        assert not {e for e in events if "picture" in e or "suddenly" in e}
        await ledger.download(service, kept.capture_id)
