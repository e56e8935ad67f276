"""camctl, as a person and as a program use it."""

import asyncio
import json
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from camapi.v1.camera_pb2 import Camera
from camsvc_client import AsyncCameraClient
from camsvc_client.camctl.exits import TABLE, code_of
from camsvc_client.errors import CamsvcError

from tests.clients.python.command import ESCAPE, Camctl
from tests.clients.python.conftest import StartRig
from tests.conftest import StartService
from tests.support import plugins
from tests.support.scenes import camera, fault
from tests.support.waiting import finished, until

GONE = "127.0.0.1:1"
CAPTURING, AWAY = Camera.STATE_CAPTURING, Camera.STATE_AWAY


def in_folder(tmp_path: Path, address: str) -> Camctl:
    folder = tmp_path / "here"
    folder.mkdir()
    return Camctl(folder, address)


@pytest.fixture
def camctl(address: str, tmp_path: Path) -> Camctl:
    return in_folder(tmp_path, address)


@pytest.fixture
async def fresh(start_service: StartService, tmp_path: Path) -> Camctl:
    """Give camctl for a service that nothing was asked of yet."""
    return in_folder(tmp_path, (await start_service(camera() + camera("sim1"))).address)


def files(camctl: Camctl) -> list[str]:
    return sorted(path.name for path in camctl.folder.iterdir())


async def test_list_and_show(fresh: Camctl) -> None:
    camctl = fresh
    listed = await camctl("list")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.splitlines()[0].split()[:2] == ["CAMERA", "STATE"]
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [
        ["sim0", "closed"],
        ["sim1", "closed"],
    ]
    assert ESCAPE not in listed.out, "no colours for a pipe"
    assert [c["camera"] for c in (await camctl("list", "--json")).json] == ["sim0", "sim1"]
    shown = await camctl("show", "sim0")
    assert "at worst" in shown.out
    assert (await camctl("show", "sim0", "--json")).json["state"] == "STATE_CLOSED"


async def test_why_a_capture_had_no_answer_in_time_is_told(
    start_service: StartService, tmp_path: Path
) -> None:
    away = {"plug": str(tmp_path / "nothing")}
    settings = camera(driver="plugins:PluggedCamera", env=plugins.ENV, options=away)
    camctl = in_folder(tmp_path, (await start_service(settings)).address)
    said = await camctl("capture", "sim0", "--timeout", "2")
    assert said.code != 0
    assert "sim0" in said.err
    assert "it is unplugged" in said.err


async def test_a_shot_of_several_files_is_told_as_such(
    start_service: StartService, tmp_path: Path
) -> None:
    settings = camera(driver="plugins:TwoFilesCamera", env=plugins.ENV)
    camctl = in_folder(tmp_path, (await start_service(settings)).address)
    said = await camctl("capture", "sim0", "--format", "raw", "-o", "shot.raw")
    assert said.out.startswith("shot.raw: sim0, 1.3 kB, with 1.JPG (camctl download --part), in")
    (capture,) = (await camctl("history", "--json")).lines
    part = await camctl("download", capture["capture_id"], "--part", "1", "-o", "shot.jpg")
    assert (part.code, part.err) == (0, "")
    assert (camctl.folder / "shot.jpg").read_bytes() == plugins.encoded(2)


async def test_capture_saves_the_picture(camctl: Camctl) -> None:
    said = await camctl("capture", "sim0", "-o", "vase.jpg", "-s", "gain=2", "-l", "object=vase")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("vase.jpg: sim0, 320 x 240, ")
    assert (camctl.folder / "vase.jpg").read_bytes().startswith(b"\xff\xd8")
    told = (await camctl("capture", "sim0", "--format", "png", "--json")).json
    file = camctl.folder / told["file"]
    assert file.suffix == ".png"
    assert file.stat().st_size == int(told["capture"]["image"]["size_bytes"])
    settings = {c["name"]: c["value"] for c in told["capture"]["controls"]}
    assert settings["gain"] == {"double_value": 1.0}, "it was for the other shot"
    await camctl("capture", "sim0", "--no-save")
    assert len(files(camctl)) == 2


async def test_a_group_is_saved_picture_by_picture(camctl: Camctl) -> None:
    said = await camctl("capture", "sim0", "sim1", "--json")
    assert said.code == 0
    assert [result["capture"]["camera"] for result in said.lines] == ["sim0", "sim1"]
    assert files(camctl) == sorted(result["file"] for result in said.lines)
    assert (await camctl("capture", "sim0", "sim1", "-o", "one.jpg")).code == 2
    partly = await camctl("capture", "sim0", "nono")
    assert partly.code == 3
    assert "'nono' is not configured" in partly.err
    assert len(files(camctl)) == 3


async def test_the_same_request_id_is_the_same_picture(camctl: Camctl) -> None:
    one = "123e4567-e89b-42d3-a456-426614174000"
    first = (await camctl("capture", "sim0", "--request-id", one, "--json")).json
    second = (await camctl("capture", "sim0", "--request-id", one, "--json")).json
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert first["capture"] == second["capture"]


async def test_history_and_download(fresh: Camctl) -> None:
    camctl = fresh
    assert (await camctl("history", "--json")).out == ""
    async with AsyncCameraClient(camctl.address) as client:
        for number in range(3):
            await client.capture(f"sim{number % 2}", labels={"row": str(number)}, fetch=False)
    filters: dict[tuple[str, ...], list[str]] = {
        (): ["sim0", "sim1", "sim0"],
        ("-n", "2"): ["sim0", "sim1"],
        ("-c", "sim1"): ["sim1"],
        ("-l", "row=2", "--since", "1h"): ["sim0"],
        ("--until", "1h"): [],
        ("--state", "failed"): [],
    }
    answers = await asyncio.gather(*(camctl("history", "--json", *given) for given in filters))
    for (given, cameras), said in zip(filters.items(), answers, strict=True):
        assert [capture["camera"] for capture in said.lines] == cameras, given
    kept = answers[0].lines
    one = kept[0]["capture_id"]
    table, whole, small, missing = await asyncio.gather(
        camctl("history"),
        camctl("download", one, "--json"),
        camctl("download", one, "--thumbnail", "-o", "small.jpg"),
        camctl("download", "nono"),
    )
    assert len(table.out.splitlines()) == 1 + len(kept)
    assert all(capture["capture_id"] in table.out for capture in kept)
    assert whole.json["size_bytes"] == int(kept[0]["image"]["size_bytes"])
    assert files(camctl) == sorted(["small.jpg", whole.json["file"]])
    assert (small.code, missing.code) == (0, 3)


async def test_events_of_all_and_of_one_camera(fresh: Camctl) -> None:
    camctl = fresh
    async with AsyncCameraClient(camctl.address) as client:
        for camera_id in ("sim1", *["sim0"] * 6):
            await client.capture(camera_id, fetch=False)
    whole, of_one, last, after, words = await asyncio.gather(
        camctl("events", "--json"),
        camctl("events", "-c", "sim1", "-n", "2", "--json"),
        camctl("events", "-n", "1", "--json"),
        camctl("events", "--after", "12", "--json"),
        camctl("events"),
    )
    assert [event["type"] for event in whole.lines] == ["TYPE_STARTED", "TYPE_SUCCEEDED"] * 7
    assert [event["sequence"] for event in of_one.lines] == ["1", "2"], "however long ago"
    assert [event["sequence"] for event in last.lines] == ["14"]
    assert [event["sequence"] for event in after.lines] == ["13", "14"]
    assert "sim0: taken" in words.out


async def test_ctrl_c_ends_a_live_view_with_its_figures(camctl: Camctl) -> None:
    process = await camctl.start("live", "sim0", "--json")
    assert process.stdout is not None
    while b"frame" not in await asyncio.wait_for(process.stdout.readline(), 20):
        pass
    process.send_signal(signal.SIGINT)
    code, _, err = await finished(process, within_s=10)
    assert (code, err) == (130, "")

    process = await camctl.start("live", "sim0")
    assert process.stdout is not None
    while b"fps" not in await asyncio.wait_for(process.stdout.readline(), 20):
        pass
    process.send_signal(signal.SIGINT)
    code, out, err = await finished(process, within_s=10)
    assert (code, err) == (130, "")
    assert "dropped" in out.splitlines()[-1]


async def test_events_are_followed_until_ctrl_c(camctl: Camctl, client: AsyncCameraClient) -> None:
    process = await camctl.start("events", "--follow", "--json", "-n", "0")
    assert process.stdout is not None
    seen: list[dict[str, Any]] = []

    async def read() -> None:
        assert process.stdout is not None
        while len(seen) < 2:
            seen.append(json.loads(await process.stdout.readline()))

    reading = asyncio.create_task(read())
    async with asyncio.timeout(20):
        while not reading.done():  # it listens once it has started
            await client.capture("sim0")
    process.send_signal(signal.SIGINT)
    code, _, err = await finished(process, within_s=10)
    assert (code, err) == (130, "")
    assert {event["type"] for event in seen} <= {"TYPE_STARTED", "TYPE_SUCCEEDED"}


async def test_controls_are_shown_and_set(camctl: Camctl) -> None:
    said = await camctl("set", "sim0", "gain=2", "focus_mode=auto", "exposure_duration_us=500")
    assert said.code == 0
    assert "auto" in said.out
    after = {c["name"]: c["value"] for c in (await camctl("controls", "sim0", "--json")).json}
    assert after["gain"] == {"double_value": 2.0}
    assert after["exposure_duration_us"] == {"int_value": "500"}
    wrong = ("gain=much", "gain", "gain=99", "exposure_duration_us=1.5")
    for said in await asyncio.gather(*(camctl("set", "sim0", given) for given in wrong)):
        assert (said.code, said.out) == (2, "")
        assert "allowed" in said.err or "NAME=VALUE" in said.err
    assert (await camctl("set", "sim0", "nono=1")).code == 7


async def test_reset_discover_and_watch(camctl: Camctl) -> None:
    assert (await camctl("reset", "sim0")).out == "sim0 is ready\n"
    found = (await camctl("discover", "--json")).json
    assert "simulated" in {device["driver"] for device in found["devices"]}
    watched = (await camctl("watch", "-n", "2", "-i", "0.1", "--json")).lines
    assert [len(cameras) for cameras in watched] == [2, 2]


async def test_live_view_is_measured_and_saved(camctl: Camctl) -> None:
    said = await camctl("live", "sim0", "-n", "10", "--save", "frames")
    assert said.code == 0
    assert "fps" in said.out.splitlines()[-1]
    assert len(list((camctl.folder / "frames").glob("sim0-*.jpg"))) == 10
    lines = (await camctl("live", "sim0", "-n", "3", "--json")).lines
    frames = [line["frame"] for line in lines if "frame" in line]
    assert len(frames) == 3
    assert frames[0]["width_px"] == 320
    assert (await camctl("live", "sim0", "--seconds", "0.5")).code == 0


async def test_on_a_terminal_there_are_colours_progress_and_a_preview(camctl: Camctl) -> None:
    seen = camctl.on_terminal
    live, colourless_live, still, listed, colourless = await asyncio.gather(
        seen("live", "sim0", "-n", "20", COLORTERM="truecolor"),
        seen("live", "sim0", "-n", "5", NO_COLOR="1"),
        seen("capture", "sim1", "--set", "exposure_duration_us=600000"),
        seen("list"),
        seen("list", NO_COLOR="1"),
    )
    assert "▀" in live
    assert "38;2;" in live
    assert "▀" not in colourless_live
    assert "taking the picture" in still
    assert f"{ESCAPE}1mCAMERA" in listed
    assert "sim0" in colourless
    assert not re.search(r"\x1b\[(3|4)\d", colourless)


async def test_in_a_narrow_terminal_nothing_is_lost(
    camctl: Camctl, client: AsyncCameraClient
) -> None:
    picture = await client.capture("sim0", labels={"object": "vase"})
    seen = partial(camctl.on_terminal, COLUMNS="60", NO_COLOR="1")
    history, controls, watched, listed = await asyncio.gather(
        seen("history"), seen("controls", "sim0"), seen("watch", "-n", "1"), seen("list")
    )
    assert picture.capture.capture_id in history
    assert "object=vase" in history
    assert "focus_distance_diopters" in controls
    assert "sim1" in watched
    for painted in (history, controls, listed):
        text = re.sub(r"\x1b\[[0-9;]*m", "", painted)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 60


async def test_errors_have_codes_and_words(camctl: Camctl) -> None:
    wrong: dict[tuple[str, ...], int] = {
        ("show", "nono"): 3,
        ("show", "Not an id"): 2,
        ("capture", "sim0", "--format", "raw"): 7,
        ("capture", "sim0", "--set", "exposure_duration_us=3000000", "--timeout", "0.5"): 9,
        ("list", "--address", GONE): 10,
        ("--tls", "list"): 10,
        ("--ca", "no-such.pem", "list"): 2,
        ("--token", "secret", "--address", "192.0.2.7:1", "list"): 2,
        ("capture", "sim0", "sim1", "--when-busy", "queue"): 2,
        ("history", "--since", "yesterday"): 2,
        ("capture", "sim0", "-o", "no/such/folder/still.jpg"): 1,
        ("nonsense",): 2,
        ("live",): 2,
    }
    answers = await asyncio.gather(*(camctl(*arguments) for arguments in wrong))
    for (arguments, code), said in zip(wrong.items(), answers, strict=True):
        assert (said.code, said.out) == (code, ""), arguments
        assert said.err
        if arguments[0] not in ("nonsense", "live"):
            # They run side by side: one may have waited for another.
            (line,) = [line for line in said.err.splitlines() if not line.startswith("waiting: ")]
            assert line.startswith("camctl: ")


async def test_errors_are_json_for_programs(camctl: Camctl) -> None:
    said = await camctl("show", "nono", "--json")
    assert (said.code, said.out) == (3, "")
    error = json.loads(said.err)["error"]
    assert error["reason"] == "CAMERA_NOT_FOUND"
    assert error["metadata"] == {"camera": "nono"}
    said = await camctl("capture", "sim0", "-o", "no/such/folder/still.jpg", "--json")
    assert (said.code, said.out) == (1, "")
    message = "no/such/folder/still.jpg: No such file or directory"
    assert json.loads(said.err)["error"] == {"reason": None, "message": message}


async def test_busy_and_faulted_have_their_own(start_service: StartService, tmp_path: Path) -> None:
    ill = camera("ill", faults=[fault("permanent", on="open", times=0)])
    service = await start_service(camera(capture_duration_s=4.0) + ill)
    camctl = Camctl(tmp_path, service.address)
    async with AsyncCameraClient(service.address) as client:
        await client.list_controls("sim0")
        first = asyncio.create_task(client.capture("sim0"))
        await asyncio.sleep(0.2)
        busy = await camctl("capture", "sim0", "--when-busy", "fail", "--json")
        assert busy.code == 4
        assert json.loads(busy.err)["error"]["retry_after_s"] > 0
        assert (await camctl("capture", "ill")).code == 6
        await first


async def test_who_waits_is_told_why(start_service: StartService, tmp_path: Path) -> None:
    """On stderr, once for each reason, and not to a program that reads JSON there."""
    away = camera("away", faults=[{**fault("disconnect", on="open"), "seconds": 6}])
    service = await start_service(camera(capture_duration_s=5.0) + away)
    camctl = Camctl(tmp_path, service.address)
    async with AsyncCameraClient(service.address) as client:
        await client.list_controls("sim0")
        first = asyncio.create_task(client.capture("sim0"))

        async def taking() -> bool:
            cameras = await client.list_cameras()
            return [c.state for c in cameras] == [CAPTURING, AWAY]

        found = asyncio.create_task(client.list_controls("away"))
        await until(taking, "a still is being taken, and the other camera is away")
        busy, quiet, back = await asyncio.gather(
            camctl("capture", "sim0", "-o", "busy.jpg"),
            camctl("capture", "sim0", "-o", "quiet.jpg", "--json"),
            camctl("capture", "away", "-o", "away.jpg"),
        )
        await asyncio.gather(first, found)
    assert (busy.code, quiet.code, back.code) == (0, 0, 0)
    assert re.match("waiting: .*'sim0' is busy", busy.err)
    assert quiet.err == ""
    assert re.match("waiting: .*'away'", back.err)


async def test_a_scan_says_that_it_waits_for_the_service(
    start_rig: StartRig, tmp_path: Path
) -> None:
    rig = await start_rig(camera(capture_duration_s=1.0))
    scan = await Camctl(tmp_path, rig.address).start("scan", "new", "--grid", "3x1", "-c", "sim0")
    assert scan.stderr
    async with AsyncCameraClient(rig.address) as client, client.capture_events("sim0") as events:
        await anext(events)  # the first picture is being taken
    await rig.kill()
    while b"waiting: " not in (line := await scan.stderr.readline()):
        assert line, "it has ended"
    assert line.decode().startswith(f"waiting: the camera service at {rig.address} cannot be ")
    await rig.start()
    assert (await finished(scan, within_s=60))[0] == 0


async def test_a_service_that_is_frozen_is_said_to_be(start_rig: StartRig, tmp_path: Path) -> None:
    rig = await start_rig(camera())
    camctl = Camctl(tmp_path, rig.address)
    rig.freeze()
    said = await camctl("capture", "sim0")
    assert said.code == 10
    assert "does not answer: nothing was received for 4 s" in said.err


def test_every_error_has_an_exit_code() -> None:
    kinds = set(CamsvcError.__subclasses__())
    assert {kind.__name__ for kind in kinds - set(TABLE)} == {"ServiceFailed"}
    assert set(map(type, map(code_of, [kind.__new__(kind) for kind in kinds]))) == {int}


async def test_help_and_completion(camctl: Camctl) -> None:
    said = await camctl("--help", COLUMNS="200")
    for command in ("list", "capture", "scan", "watch", "Exit codes", "CAMSVC_ADDRESS"):
        assert command in said.out
    assert (await camctl("--version")).out.startswith("camctl 0.")
    completed = await camctl(
        _CAMCTL_COMPLETE="complete_bash", COMP_WORDS="camctl capture s", COMP_CWORD="2"
    )
    assert completed.out.split() == ["sim0", "sim1"]
