"""Passwords of the settings are shown nowhere, whatever a driver, a library or a mistake says.

Each test here fails by itself, too, where the password is in what it prints, or in a file of its
own: the log, the journal. See `tests/support/canary.py`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import structlog
from camapi.v1 import camera_service_pb2 as api

from camsvc import logs
from camsvc.config import settings
from camsvc.config.errors import SettingsError
from camsvc.ipc import messages as m
from camsvc.model import redaction
from camsvc.model.options import Sandbox
from camsvc.worker_pool.process import WorkerProcess
from tests.conftest import StartService
from tests.process.test_commands import camsvc
from tests.support import plugins
from tests.support.canary import CANARY, holds
from tests.support.http_camera import HttpCamera, Request, Viewer
from tests.support.scenes import camera
from tests.support.service import CALL_S

PASSWORD = f"p%40ss%2Fw%25rd%3A%23{CANARY}"
URL = f"rtsp://user:{PASSWORD}@192.0.2.1/live?channel=1&token=x{CANARY}"
INDISCREET = camera(
    "talks",
    driver="indiscreet:IndiscreetCamera",
    options={"address": URL, "pin": f"1234{CANARY}", "token": f"t{CANARY}"},
    options_model="tests.support.indiscreet_settings:IndiscreetSettings",
    env={**plugins.ENV, "CAMERA_PASSWORD": f"e{CANARY}"},
    attempts=1,
)


async def test_a_driver_that_says_its_password_is_not_repeated(start_service: StartService) -> None:
    """Neither to clients, nor in the log, the journal, or to who looks at its process."""
    service = await start_service(INDISCREET)
    said = []
    for _ in range(3):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.capture("talks")
        said.append(f"{caught.value.details()} {caught.value.trailing_metadata()}")
    assert "no answer from rtsp://***@192.0.2.1/live" in said[0]
    taken = await service.capture("talks")
    assert taken.capture.warnings == ["taken from rtsp://***@192.0.2.1/live?channel=1&token=***"]
    shown = (await service.camera("talks")).camera
    assert shown.model.startswith("at rtsp://***@")
    request = api.ListControlsRequest(camera="talks")
    controls = await service.stub.ListControls(request, timeout=CALL_S)
    captures = await service.stub.ListCaptures(api.ListCapturesRequest(), timeout=CALL_S)
    everything = "\n".join([*said, *map(str, (taken, shown, controls, captures))])
    assert not holds(everything)
    for process in (service.ps, *service.workers()):
        assert not holds(" ".join(process.cmdline()))
    assert not holds(str(environment(service.ps)))
    log = service.log()
    spoken = [entry["line"] for entry in log if entry["event"] == "worker says"]
    assert any(line.startswith("opening rtsp://***@192.0.2.1/live") for line in spoken)
    assert any("it is over: rtsp://***@" in str(e.get("last_words")) for e in log)
    assert not holds(service.log_text())


def environment(process: psutil.Process) -> dict[str, str]:
    return dict(process.environ())


async def test_a_device_that_is_found_has_no_login_in_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "camsvc.toml"
    path.write_text(INDISCREET)
    (found,) = settings.load(path).cameras
    worker = await WorkerProcess.start(found.launch(Sandbox()))
    try:
        answer = await worker.call(m.Discover({"talks": found.driver_settings()}), CALL_S)
    finally:
        worker.kill("the test is over")
        await worker.wait_ended()
    (device,) = answer.devices
    assert device.settings["address"] == "rtsp://***@192.0.2.1/live?channel=1&token=***"
    assert not holds(repr(device))


async def test_what_ffmpeg_writes_of_an_address_has_no_login(start_service: StartService) -> None:
    """It opens lists of video by itself, and says of each that it cannot read it, and where."""

    def script(_: Request, viewer: Viewer) -> None:
        listed = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nnowhere.ts\n#EXT-X-ENDLIST\n"
        viewer.answer("200 OK", listed, Content_Type="application/vnd.apple.mpegurl")
        raise ConnectionAbortedError  # FFmpeg would wait for more

    with HttpCamera(script) as server:
        url = server.url(f"/list.m3u8?token={CANARY}", login=f"user:{PASSWORD}")
        service = await start_service(camera("gate", driver="opencv", source=url, attempts=1))
        with pytest.raises(grpc.aio.AioRpcError):
            await service.capture("gate")
    assert "worker says" in service.log_text()
    assert "://***@127.0.0.1" in service.log_text(), "the test is about something"
    assert not holds(service.log_text())


WRONG: dict[str, Any] = {
    "source of a wrong kind": camera("a", driver="opencv", source=[URL]),
    "source that is not encoded": camera("a", driver="opencv", source=f'rtsp://u:a b"/{CANARY}@h/'),
    "key of a wrong name": camera("a", driver="opencv", source=URL, sorce=URL),
    "key that is for devices": camera("a", driver="opencv", source=URL, fps=3.0),
    "no table": f"cameras = ['{URL}']\n",
    "a table in place of a list": f"[cameras]\nid = 'a'\nsource = '{URL}'\n",
    "secret of a wrong kind": INDISCREET.replace(f'"1234{CANARY}"', f"['{CANARY}']"),
    "unknown password": INDISCREET.replace("pin =", f'password = "{CANARY}", pni ='),
    "date among the options": camera(
        "a", driver="x:Y", options={"password": CANARY, "url": URL}
    ).replace(" }", ", when = 2020-01-01 }"),
    "wrong variable": camera("a", env={"X=": CANARY}),
    "two of a name": (camera("a", driver="opencv", source=URL)) * 2,
    "no TOML": f"source = rtsp://u:{CANARY}@h/",
    "no TOML either": f"[[cameras]]\nsource = 'a'\nsource = '{URL}'",
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_are_wrong_are_explained_without_their_passwords(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(plugins.__file__).parent))
    path = tmp_path / "camsvc.toml"
    path.write_text(WRONG[name])
    with pytest.raises(SettingsError) as caught:
        settings.load(path)
    print(caught.value)
    assert not holds(str(caught.value))
    assert not holds(repr(caught.value.__cause__))


def test_the_settings_do_not_show_their_secrets(tmp_path: Path) -> None:
    path = tmp_path / "camsvc.toml"
    path.write_text(INDISCREET + camera("gate", driver="opencv", source=URL))
    loaded = settings.load(path)
    for camera_ in loaded.cameras:
        shown = (loaded, camera_, camera_.camera_options, camera_.launch)
        assert not holds("".join(f"{each!r} {each}" for each in shown))
    options, source = (camera_.driver_settings() for camera_ in loaded.cameras)
    assert options["pin"] == f"1234{CANARY}"
    assert source["source"] == URL


async def test_an_operators_commands_show_none(tmp_path: Path) -> None:
    path = tmp_path / "camsvc.toml"
    path.write_text(f'[service]\ndata_dir = "{tmp_path}/data"\nlog_level = "debug"\n{INDISCREET}')
    for command in ("check-config", "doctor"):
        ran = await camsvc(command, "--config", path)
        print(ran.out, ran.err)
        assert not holds(ran.out + ran.err)
        assert (command == "check-config") or "rtsp://***@192.0.2.1/live" in ran.out


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[], str]]:
    """Give a function that sets a log up, and returns one that ends it, and returns its text."""

    def begin(log_format: str) -> Callable[[], str]:
        reading, writing = os.pipe()
        monkeypatch.setattr(sys, "stderr", os.fdopen(writing, "w"))
        writer = logs.configure(log_format, "debug", redaction.shown)

        def end() -> str:
            writer.finish()
            structlog.reset_defaults()
            sys.stderr.close()
            monkeypatch.undo()
            with open(reading) as file:
                return file.read()

        return end

    return begin


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_tracebacks_have_no_locals(
    log_format: str, log: Callable[[str], Callable[[], str]]
) -> None:
    end = log(log_format)
    password = CANARY

    def fail(url: str) -> None:
        raise ValueError(f"cannot open {url}")

    try:
        fail(f"rtsp://user:{password}@192.0.2.1/")
    except ValueError:
        structlog.get_logger().exception(
            "it failed", of={"url": URL}, more=[URL], by=(URL,), name="\x1b[2J"
        )
    said = end()
    assert "in fail" in said or '"name": "fail"' in said
    assert "cannot open rtsp://***@192.0.2.1/" in said
    assert said.count("***") >= 4
    assert "\x1b" not in said
    assert "\\x1b[2J" in said
    assert not holds(said)
