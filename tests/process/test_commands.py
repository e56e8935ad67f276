"""The command line: what is wrong is told in a line, with an exit code, and no traceback."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from camsvc import __version__
from tests.support import plugins
from tests.support.scenes import camera
from tests.support.waiting import finished

ENDS_S = 60.0
CAMSVC = Path(sys.executable).with_name("camsvc")


@dataclass(frozen=True)
class Ran:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _data_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is served here out of the user's own data folder."""
    monkeypatch.setenv("CAMSVC_SERVICE__DATA_DIR", str(tmp_path / "data"))


async def camsvc(*arguments: object, **environment: str) -> Ran:
    process = await asyncio.create_subprocess_exec(
        *(str(CAMSVC), *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    return Ran(*await finished(process, within_s=ENDS_S))


def assert_told(ran: Ran, code: int, *words: str) -> None:
    """It ended with the code, said the words, and no more than a few lines."""
    assert ran.code == code, ran
    for word in words:
        assert word in ran.err
    assert ran.err.startswith("camsvc: ")
    assert "Traceback" not in ran.out + ran.err
    assert len(ran.err.splitlines()) <= 3


@pytest.fixture
def taken() -> Iterator[str]:
    """Give an address on which somebody else listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_a_port_in_use_is_told(taken: str) -> None:
    assert_told(await camsvc("serve", "--listen", taken), 3, taken, "in use", "--listen HOST:PORT")


async def test_an_address_of_another_machine_is_told() -> None:
    ran = await camsvc("serve", "--listen", "192.0.2.1:50051")
    assert_told(ran, 3, "192.0.2.1:50051", "not this machine's")


async def test_discovery_goes_on_where_a_drivers_library_is_missing(tmp_path: Path) -> None:
    """Here the driver's own interpreter has none of it; on a Pi, it finds its cameras."""
    config = tmp_path / "camsvc.toml"
    config.write_text(camera() + camera("pi", driver="picamera2", python=sys.executable))
    ran = await camsvc("discover", "--config", config)
    assert ran.code == 0, ran
    assert "Simulated camera, always there (configured as sim0)" in ran.out
    assert "picamera2: discovery failed: " in ran.out
    assert "sudo apt install python3-picamera2" in " ".join(ran.out.split())


async def test_a_device_that_two_drivers_can_drive_is_listed_once(tmp_path: Path) -> None:
    """For the driver that it is configured for; one that is configured for none, for the first."""
    cameras = "".join(
        camera(name, driver=f"plugins:{driver}", options={"device": place}, env=plugins.ENV)
        for name, driver, place in (
            ("a", "ListingCamera", "usb-1"),
            ("b", "OtherListingCamera", "usb-2"),
        )
    )
    config = tmp_path / "camsvc.toml"
    config.write_text(cameras)
    ran = await camsvc("discover", "--config", config)
    assert ran.code == 0, ran
    assert [line for line in ran.out.splitlines() if ": at usb" in line] == [
        "plugins:ListingCamera: at usb-1 (configured as a)",
        "plugins:ListingCamera: at usb-3 (not configured)",
        "plugins:OtherListingCamera: at usb-2 (configured as b)",
    ]
    snippet = ran.out.split("usb-3 (not configured)\n")[1].split("\n\n")[0]
    config.write_text(cameras + snippet)
    assert (await camsvc("check-config", "--config", config)).code == 0, snippet


async def test_each_cameras_own_environment_is_looked_in(tmp_path: Path) -> None:
    config = tmp_path / "camsvc.toml"
    config.write_text(
        "".join(
            camera(
                name,
                driver="plugins:ListingCamera",
                options={"device": place},
                env={**plugins.ENV, "PLACES": place},
            )
            for name, place in (("a", "usb-7"), ("b", "usb-8"))
        )
    )
    ran = await camsvc("discover", "--config", config)
    assert [line for line in ran.out.splitlines() if ": at usb" in line] == [
        "plugins:ListingCamera: at usb-7 (configured as a)",
        "plugins:ListingCamera: at usb-8 (configured as b)",
    ]


@pytest.mark.parametrize("command", ["serve", "check-config", "doctor", "discover"])
async def test_a_missing_file_is_told(command: str, tmp_path: Path) -> None:
    missing = tmp_path / "camsvc.toml"
    assert_told(await camsvc(command, "--config", missing), 2, str(missing), "does not exist")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('[service]\nlisten = "[::1]"\n' + camera(), ("[service]", "'[::1]'", "HOST:PORT")),
        (camera(gian=4), ("camera 'sim0'", "unknown key 'gian'", "allowed: id, driver")),
        ("[service]\nlisen = 1\n" + camera(), ("[service]", "'lisen'", "did you mean 'listen'?")),
        (camera(driver="kodak"), ("driver 'kodak' is unknown", "simulated, v4l2")),
        (camera(attempts=0), ("camera 'sim0'", "'attempts'", "0 is not allowed", "at least 1")),
        (camera() + camera(), ("'sim0' is used twice",)),
        ("[[cameras]\n", ("not TOML",)),
    ],
    ids=["address", "camera's key", "service's key", "driver", "value", "id", "TOML"],
)
@pytest.mark.parametrize("command", ["serve", "check-config"])
async def test_wrong_settings_are_told(
    command: str, settings: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    config = tmp_path / "camsvc.toml"
    config.write_text(settings)
    assert_told(await camsvc(command, "--config", config), 2, str(config), *words)


async def test_a_wrong_variable_is_told() -> None:
    ran = await camsvc("check-config", CAMSVC_SERVICE__LISTEN="here")
    assert_told(ran, 2, "CAMSVC_SERVICE__LISTEN", "'here'", "HOST:PORT")


async def test_check_config_says_what_right_settings_mean(tmp_path: Path) -> None:
    config = tmp_path / "camsvc.toml"
    config.write_text(camera(attempts=2, attempt_timeout_s=4.0, open_timeout_s=6.0))
    ran = await camsvc("check-config", "--config", config)
    assert (ran.code, ran.err) == (0, "")
    assert f"ok: {config}" in ran.out.replace("\n", "")
    assert "camera sim0: driver simulated, a capture answers within 20 s" in ran.out


async def test_what_is_wrong_with_the_data_folder_is_told(tmp_path: Path) -> None:
    config, data = tmp_path / "camsvc.toml", tmp_path / "data"
    config.write_text(camera())
    data.mkdir()
    data.chmod(0o777)
    (data / "lock").symlink_to(tmp_path / "other")
    for command, code in (("check-config", 4), ("doctor", 1)):
        ran = await camsvc(command, "--config", config)
        assert ran.code == code, ran
        assert f"loose others may write in {data} (mode 0777)" in ran.out
        assert f"wrong {data}/lock is a link to {tmp_path}/other" in ran.out
        assert f"rm {data}/lock" in ran.out
    (data / "lock").unlink()
    ran = await camsvc("check-config", "--config", config)
    assert ran.code == 0, ran
    assert f"chmod 0700 {data}; the next start does it" in ran.out


async def test_version() -> None:
    ran = await camsvc("--version")
    assert (ran.code, ran.out.strip(), ran.err) == (0, f"camsvc {__version__}", "")
