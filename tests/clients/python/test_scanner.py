"""A scan is done whole, whatever interrupts it, and no picture is taken twice."""

import asyncio
import csv
import hashlib
import json
import os
import random
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import camsvc_client
import cv2
import pytest
from camapi.v1 import camera_pb2 as pb
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import (
    AsyncCameraClient,
    CameraFaulted,
    CameraNotFound,
    InvalidRequest,
    Unsupported,
)
from camsvc_client.scanner import (
    CannotScan,
    Plan,
    PlanDiffers,
    Progress,
    Scan,
    SimulatedStage,
    cylinder,
    grid,
)
from camsvc_client.scanner.ledger import Ledger

from tests.clients.python import fake
from tests.clients.python.command import Camctl
from tests.clients.python.conftest import StartRig
from tests.conftest import StartService
from tests.support.history import QUICK, exposures
from tests.support.scenes import camera, fault
from tests.support.smalldisk import SmallDisk
from tests.support.waiting import finished, until

CAMERAS = ("left", "right")
SCENE = camera("left", **QUICK) + camera("right", **QUICK)
FIXED = ("--focus", "8.2", "--exposure-us", "500", "--settle", "0")
EXAMPLES = Path(camsvc_client.__file__).parents[1] / "examples" / "scanner"


def plan(**changes: object) -> Plan:
    known = {"cameras": CAMERAS, "points": cylinder(4, 2, height_mm=100), "settle_s": 0.0}
    fixed = {"focus_diopters": 8.2, "exposure_us": 500}
    return Plan(**{**known, **fixed, **changes})  # type: ignore[arg-type]


def stage() -> SimulatedStage:
    return SimulatedStage(speed=10_000)


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def check_pictures(folder: Path, count: int) -> list[dict[str, str]]:
    """Look whether the manifest tells of so many pictures, and each is what it tells."""
    rows = manifest(folder)
    assert len(rows) == count
    assert len({(row["point"], row["camera"]) for row in rows}) == count
    for row in rows:
        data = (folder / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
    document = json.loads((folder / "manifest.json").read_text())
    assert [p["sha256"] for p in document["pictures"]] == [row["sha256"] for row in rows]
    assert len(pictures(folder)) == count
    return rows


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "pictures").glob("*.jpg"))


async def taken(client: AsyncCameraClient) -> list[pb.Capture]:
    return [c async for c in client.list_captures(states=["succeeded"], page_size=500)]


async def check_taken_once(client: AsyncCameraClient, count: int) -> None:
    """Look whether the service has so many pictures, and pressed its shutters as often."""
    kept = await taken(client)
    assert len(kept) == count
    pressed = {name: max(exposures(c) for c in kept if c.camera == name) for name in CAMERAS}
    assert pressed == Counter(c.camera for c in kept)


def test_the_patterns_go_there_and_back() -> None:
    around = cylinder(4, 2, height_mm=100)
    assert [point.axes["angle_deg"] for point in around] == [0, 90, 180, 270, 270, 180, 90, 0]
    assert [point.axes["height_mm"] for point in around] == [0] * 4 + [100] * 4
    flat = grid(2, 2, step_mm=5)
    assert [tuple(p.axes.values()) for p in flat] == [(0, 0), (5, 0), (5, 5), (0, 5)]
    assert [point.number for point in flat] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="0 x 3 points"):
        grid(0, 3, step_mm=1)


async def test_a_scan_has_every_picture_its_manifest_and_a_contact_sheet(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(SCENE)
    folder, told, moved = tmp_path / "vase", list[Progress](), stage()
    async with AsyncCameraClient(service.address) as client:
        scan = Scan(folder, plan(), on_progress=told.append)
        result = await scan.run(client, moved)
        assert (result.pictures, result.missing) == (16, {})
        await check_taken_once(client, 16)
        groups = [c.labels["point"] for c in await taken(client)]
        assert set(Counter(groups).values()) == {2}
    assert moved.moves == 8
    assert [progress.done for progress in told] == list(range(1, 17))
    rows = check_pictures(folder, 16)
    assert [row["angle_deg"] for row in rows[:4]] == ["0.0", "0.0", "90.0", "90.0"]
    assert {row["focus_distance_diopters"] for row in rows} == {"8.2"}
    assert {row["exposure_us"] for row in rows} == {"500"}
    times = [row["acquisition_time"] for row in rows[::2]]
    assert times == sorted(times)
    assert result.contact_sheet
    sheet = cv2.imread(str(result.contact_sheet))
    assert sheet is not None
    assert sheet.shape[1] > 4 * 160


SCANNER = """
import asyncio, sys
from pathlib import Path
import psutil
from camsvc_client import AsyncCameraClient
from camsvc_client.scanner import Plan, Scan, SimulatedStage, cylinder

def show(progress):
    print(progress.done, psutil.Process().memory_info().rss, flush=True)

async def main(address, columns, rows):
    plan = Plan(
        cameras=["left", "right"],
        points=cylinder(int(columns), int(rows), height_mm=300),
        focus_diopters=8.2,
        exposure_us=500,
        settle_s=0,
    )
    async with AsyncCameraClient(address) as client:
        scan = Scan(Path("vase"), plan, on_progress=show)
        result = await scan.run(client, SimulatedStage(speed=1e6))
    assert (result.pictures, result.missing) == (2 * len(plan.points), {})

asyncio.run(main(*sys.argv[1:]))
"""


async def start_scanner(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", SCANNER, *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_killed_again_and_again_it_is_done_whole(
    start_service: StartService, tmp_path: Path
) -> None:
    """kill -9 at random points and instants; SCAN_KILLS times, by SCAN_SEED."""
    kills, seed = (int(os.environ.get(f"SCAN_{name}", "4")) for name in ("KILLS", "SEED"))
    chance = random.Random(seed)
    service = await start_service(SCENE)
    for _ in range(kills):
        process = await start_scanner(tmp_path, service.address, "16", "2")
        assert process.stdout is not None
        async with asyncio.timeout(30):
            for _ in range(chance.randint(1, max(1, 48 // kills))):
                assert await process.stdout.readline(), "it is done before it was killed"
        await asyncio.sleep(chance.uniform(0, 0.05))
        process.kill()
        await process.communicate()
    code, out, err = await finished(
        await start_scanner(tmp_path, service.address, "16", "2"), within_s=60
    )
    print(f"seed {seed}: {len(out.splitlines())} of 64 pictures were left to the last run")
    assert (code, err) == (0, "")
    check_pictures(tmp_path / "vase", 64)
    async with AsyncCameraClient(service.address) as client:
        await check_taken_once(client, 64)


async def test_memory_is_flat_over_144_points_of_two_cameras(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(SCENE)
    process = await start_scanner(tmp_path, service.address, "36", "4")
    code, out, err = await finished(process, within_s=90)
    assert (code, err) == (0, "")
    sizes = [int(line.split()[1]) / 1e6 for line in out.splitlines()]
    assert len(sizes) == 288
    grown = max(sizes) - sizes[9]
    print(f"{sizes[9]:.1f} MB after 10 pictures, {grown:.1f} MB more at most")
    assert grown < 10
    check_pictures(tmp_path / "vase", 288)


async def test_a_full_disk_ends_the_scan_and_it_goes_on_afterwards(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(SCENE)
    folder = tmp_path / "disk" / "vase"
    async with SmallDisk(tmp_path / "disk", "size=2m") as disk:
        disk.fill(leave_bytes=150_000)

        async def scan(*arguments: str) -> tuple[int, str, str]:
            command = ("-a", service.address, "scan", str(folder), *arguments)
            process = await asyncio.create_subprocess_exec(
                *(*disk.entering, sys.executable, "-m", "camctl", *command),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            return await finished(process, within_s=60)

        code, out, err = await scan("--cylinder", "8x2", "-c", "left", "-c", "right", *FIXED)
        assert (code, out) == (1, "")
        assert "No space left on device" in err
        assert "resume with: camctl scan" in err
        disk.make_room()
        code, out, err = await scan()
        assert code == 0, err
        check_pictures(disk.path / "vase", 32)
    async with AsyncCameraClient(service.address) as client:
        await check_taken_once(client, 32)


async def test_a_file_that_has_gone_is_fetched_again(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(SCENE)
    async with AsyncCameraClient(service.address) as client:
        await Scan(tmp_path, plan()).run(client, stage())
        gone, cut_off, *_ = pictures(tmp_path)
        gone.unlink()
        cut_off.write_bytes(b"")
        moved = stage()
        assert (await Scan(tmp_path).run(client, moved)).pictures == 16
        assert moved.moves == 0
        await check_taken_once(client, 16)
    check_pictures(tmp_path, 16)


async def test_a_picture_taken_but_not_noted_is_fetched(
    start_service: StartService, tmp_path: Path
) -> None:
    """The instant between the shutter and the note: the note is taken back here."""
    service = await start_service(SCENE)
    async with AsyncCameraClient(service.address) as client:
        await Scan(tmp_path, plan()).run(client, stage())
        ledger = tmp_path / "scan.jsonl"
        lines = ledger.read_bytes().splitlines(keepends=True)
        ledger.write_bytes(b"".join(lines[:6]) + lines[6][:20])  # one is cut off
        result = await Scan(tmp_path).run(client, stage())
        assert result.pictures == 16
        await check_taken_once(client, 16)
    check_pictures(tmp_path, 16)


async def test_a_scan_lives_through_a_restart_of_the_service(
    start_rig: StartRig, tmp_path: Path
) -> None:
    rig = await start_rig(SCENE)
    folder = tmp_path / "vase"
    third = asyncio.Event()

    def show(progress: Progress) -> None:
        if progress.done == 3:
            third.set()

    async with AsyncCameraClient(rig.address) as client:
        scan = Scan(folder, plan(settle_s=0.1), on_progress=show)
        running = asyncio.create_task(scan.run(client, stage()))
        await third.wait()
        await rig.kill()
        await asyncio.sleep(1)
        await rig.start()
        assert (await running).pictures == 16
        kept = await taken(client)
        assert len(kept) == len({c.request_id for c in kept}) == 16
        focus = {c.value.double_value for k in kept for c in k.controls if "focus_d" in c.name}
        assert focus == {8.2}, "also after the restart"
    check_pictures(folder, 16)


async def test_a_point_that_fails_is_left_out_and_taken_by_the_next_run(
    start_service: StartService, tmp_path: Path
) -> None:
    failing = camera("right", attempts=1, faults=[fault("error", at=3, times=2)], **QUICK)
    service = await start_service(camera("left", **QUICK) + failing)
    async with AsyncCameraClient(service.address) as client:
        first = await Scan(tmp_path, plan(), patience_s=0.0).run(client, stage())
        assert 0 < len(first.missing) <= 2
        assert {camera for _, camera in first.missing} == {"right"}
        assert first.pictures == 16 - len(first.missing)
        document = json.loads((tmp_path / "manifest.json").read_text())
        assert len(document["missing"]) == len(first.missing)
        second = await Scan(tmp_path).run(client, stage())
        assert (second.pictures, second.missing) == (16, {})
        assert len(await taken(client)) == 16
    check_pictures(tmp_path, 16)


async def test_what_only_a_person_mends_ends_the_scan_and_it_goes_on_afterwards(
    start_service: StartService, tmp_path: Path
) -> None:
    faulty = camera("right", faults=[fault("permanent", at=4)], **QUICK)
    service = await start_service(camera("left", **QUICK) + faulty)
    async with AsyncCameraClient(service.address) as client:
        with pytest.raises(CameraFaulted):
            await Scan(tmp_path, plan()).run(client, stage())
        assert len(manifest(tmp_path)) >= 6
        await client.reset_camera("right")
        assert (await Scan(tmp_path).run(client, stage())).pictures == 16
        assert len(await taken(client)) == 16


class NotToMove(SimulatedStage):
    async def home(self) -> None:
        raise AssertionError("the stage moves")


async def test_what_cannot_be_done_is_told_before_anything_moves(
    start_service: StartService, tmp_path: Path
) -> None:
    """And the plan can be mended: it does not stick to the folder."""
    service = await start_service(SCENE)
    wrong: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"focus_diopters": 99.0}, InvalidRequest, "out of range"),
        ({"exposure_us": 1}, InvalidRequest, "out of range"),
        ({"controls": {"aperture": 8}}, Unsupported, "aperture"),
        ({"cameras": ["left", "nono"]}, CameraNotFound, "nono"),
        ({"format": "raw"}, CannotScan, "'left' does not offer raw; allowed: jpeg, png"),
    ]
    async with AsyncCameraClient(service.address) as client:
        for changes, error, words in wrong:
            with pytest.raises(error, match=words):
                await Scan(tmp_path, plan(**changes)).run(client, NotToMove())
        assert await taken(client) == []
    Scan(tmp_path, plan())


@pytest.mark.parametrize(("kept", "fits"), [(8.2, True), (8.15, True), (0.0, False)])
async def test_a_control_that_is_not_kept_is_noticed(
    tmp_path: Path, kept: float, fits: bool
) -> None:
    """Read back after it was set, but for what the device rounds."""
    focus = pb.Control(name="focus_distance_diopters", value=pb.ControlValue(double_value=kept))

    async def controls(
        request: api.ListControlsRequest, context: fake.Context
    ) -> api.ListControlsResponse:
        return api.ListControlsResponse(controls=[focus])

    async def changed(
        request: api.SetControlsRequest, context: fake.Context
    ) -> api.SetControlsResponse:
        return api.SetControlsResponse(controls=[focus])

    async def about(request: api.GetCameraRequest, context: fake.Context) -> api.GetCameraResponse:
        able = pb.CameraCapabilities(formats=[pb.ImageOptions.FORMAT_JPEG])
        return api.GetCameraResponse(camera=pb.Camera(capabilities=able))

    async with (
        fake.served(ListControls=controls, SetControls=changed, GetCamera=about) as address,
        AsyncCameraClient(address) as client,
    ):
        wanted = plan(cameras=["left"], exposure_us=None)
        with pytest.raises(
            AssertionError if fits else CannotScan,
            match="the stage moves" if fits else "was set to 8.2, and is 0.0",
        ):
            await Scan(tmp_path, wanted).run(client, NotToMove())


async def test_a_folder_has_one_plan(start_service: StartService, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no scan to resume"):
        Scan(tmp_path / "none")
    Scan(tmp_path, plan(exposure_us=501))
    first = Scan(tmp_path, plan())  # instead of one of which nothing was taken
    assert Scan(tmp_path).plan.document() == plan().document()
    service = await start_service(SCENE)
    async with AsyncCameraClient(service.address) as client:
        await first.run(client, stage())
    Scan(tmp_path, plan())
    with pytest.raises(PlanDiffers, match="another plan"):
        Scan(tmp_path, plan(exposure_us=501))
    with pytest.raises(ValueError, match="each once"):
        plan(cameras=["left", "left"])


def test_the_request_ids_are_the_same_whenever_it_is_opened(tmp_path: Path) -> None:
    Scan(tmp_path, plan())
    keys = [(number, name) for number in range(8) for name in CAMERAS]
    with Ledger(tmp_path, None) as first:
        ids = [first.request_id(key) for key in keys]
        with pytest.raises(BlockingIOError, match="in use"):  # one scan at a time
            Scan(tmp_path)
    with Ledger(tmp_path, None) as second:
        assert [second.request_id(key) for key in keys] == ids
    assert len(set(ids)) == 16
    with Ledger(tmp_path / "pictures", plan()) as other:
        assert other.request_id(keys[0]) != ids[0]


async def test_the_example_with_a_stage_of_its_own_runs(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(SCENE)
    moves: list[str] = []

    async def turntable(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            moves.append(line.decode().strip())
            writer.write(b"ok\n")
        writer.close()

    server = await asyncio.start_server(turntable, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "scan_vase.py"), service.address, *CAMERAS),
        cwd=tmp_path,
        env={**os.environ, "TURNTABLE": f"{host}:{port}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, out, err = await finished(process, within_s=60)
    server.close()
    await server.wait_closed()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "16 of 16 pictures"
    assert moves[0] == "G28"
    assert moves.count("M400") == 8
    assert moves[-1] == "M84"
    check_pictures(tmp_path / "vase", 16)


async def test_the_command_line_says_what_is_wrong(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(SCENE)
    camctl = Camctl(tmp_path, service.address)
    wrong = {
        ("scan", "vase"): "no scan to resume",
        ("scan", "vase", "--cylinder", "4x2"): "--camera",
        ("scan", "vase", "--cylinder", "4", "-c", "left"): "COLUMNSxROWS",
        ("scan", "vase", "--grid", "1x1", "--cylinder", "1x1", "-c", "left"): "exclude",
        ("scan", "vase", "--stage", "nono:make"): "--stage",
    }
    for arguments, words in wrong.items():
        said = await camctl(*arguments)
        assert (said.code, said.out) == (2, ""), arguments
        assert words in said.err
    assert not (tmp_path / "vase").exists()
    one = ("scan", "vase", "--grid", "1x1", "-c", "left", *FIXED, "-s", "gain=2")
    said = await camctl(*one, "--json")
    assert said.json["pictures"] == 1
    assert (tmp_path / said.json["contact_sheet"]).exists()
    painted = await camctl.on_terminal("scan", "other", "--grid", "2x1", "-c", "left")
    assert "the focus (--focus) is not fixed" in painted
    assert "2/2" in painted


async def test_ctrl_c_says_how_to_go_on(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(SCENE)
    camctl = Camctl(tmp_path, service.address)
    process = await camctl.start("scan", "vase", "--grid", "99x9", "-c", "left", *FIXED)

    async def begun() -> bool:
        return len(pictures(tmp_path / "vase")) > 2

    await until(begun, "pictures come", within_s=60)
    process.send_signal(signal.SIGINT)
    code, out, err = await finished(process, within_s=60)
    assert (code, out) == (130, "")
    assert re.fullmatch(r"\d+ of 891 pictures are there; resume with: camctl scan vase\n", err)
    noted = int(err.split()[0])
    for written in pictures(tmp_path / "vase")[noted:]:
        written.unlink()  # just written, and not noted: the next run fetches it again
    check_pictures(tmp_path / "vase", noted)
