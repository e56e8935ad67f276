"""Settings: what they mean, where they come from, and what is said of every mistake."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from camsvc.config.cameras import CameraSettings
from camsvc.config.errors import SettingsError
from camsvc.config.settings import Settings, load
from camsvc.model.options import Sandbox
from camsvc.model.registry import BUILTIN
from camsvc.system import landlock

SIM = '[[cameras]]\nid = "top"\ndriver = "simulated"\n'
CV = '[[cameras]]\nid = "top"\ndriver = "opencv"\n'
PI = '[[cameras]]\nid = "top"\ndriver = "picamera2"\n'
GP = '[[cameras]]\nid = "top"\ndriver = "gphoto2"\n'
V4L2 = '[[cameras]]\nid = "top"\ndriver = "v4l2"\n'
PLUGIN = '[[cameras]]\nid = "top"\ndriver = "my.cameras:Mine"\n'


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("CAMSVC_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    return tmp_path / "rig.toml"


def read(rig: Path, text: str, **command_line: Any) -> Settings:
    rig.write_text(text)
    return load(rig, **command_line)


def problems(rig: Path, text: str, **command_line: Any) -> list[str]:
    """Return the lines of the error, without the file's path in front."""
    with pytest.raises(SettingsError) as caught:
        read(rig, text, **command_line)
    return [line.removeprefix(f"{rig}: ") for line in str(caught.value).splitlines()]


def test_without_a_file_there_is_one_simulated_camera() -> None:
    settings = load(None)
    assert [(camera.id, camera.driver) for camera in settings.cameras] == [("sim0", "simulated")]
    assert settings.service.listen == "127.0.0.1:50051"
    assert settings.service.data_dir.name == "camsvc"
    assert settings.service.inline_limit_bytes == 4 * 2**20 - 64 * 2**10


def test_the_defaults_of_every_camera(rig: Path) -> None:
    camera = read(rig, SIM).cameras[0]
    common = camera.model_dump(include=set(CameraSettings.model_fields))
    assert common == {
        "id": "top",
        "driver": "simulated",
        "attempts": 3,
        "attempt_timeout_s": 10,
        "open_timeout_s": 15,
        "attempt_pause_s": 0.25,
        "stall_timeout_s": 2,
        "queue_limit": 16,
        "max_viewers": 64,
        "open_at_start": False,
        "idle_close_s": 0,
        "python": None,
        "env": {},
        "sandbox": None,
        "writable": [],
        "controls": {},
    }


def test_what_a_camera_reads_may_not_lie_in_the_folder_that_is_hidden_from_it(
    rig: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    film = data / "film.mp4"
    film.touch()
    (tmp_path / "link.mp4").symlink_to(film)
    service = f'[service]\ndata_dir = "{data}"\n'
    for source in (film, tmp_path / "link.mp4"):
        table = f'[[cameras]]\nid = "film"\ndriver = "opencv"\nsource = "{source}"\n'
        with pytest.raises(SettingsError, match="camera 'film', key 'source': .* data folder"):
            read(rig, service + table)
        assert read(rig, service + table + 'sandbox = "off"\n')
    elsewhere = tmp_path / "film.mp4"
    elsewhere.touch()
    assert read(rig, service + table.replace(str(source), str(elsewhere)))


def test_a_camera_has_its_own_sandbox_or_the_services(rig: Path) -> None:
    text = (
        '[service]\nsandbox = "off"\nworker_memory_bytes = 1_000_000_000\ndata_dir = "/data"\n'
        + SIM
        + 'sandbox = "auto"\nwritable = ["/var/cache/vendor"]\n'
        + SIM.replace("top", "side")
    )
    settings = read(rig, text)
    shared = settings.service.sandboxed
    own, other = (camera.launch(shared).sandbox for camera in settings.cameras)
    assert own == Sandbox("auto", "/data", ("/var/cache/vendor",), 10**9)
    assert other == shared == Sandbox("off", "/data", (), 10**9)


def test_what_the_system_lacks_cannot_be_required(
    rig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[service]\nsandbox = "require"\n' + SIM
    monkeypatch.setattr(landlock, "version", lambda: 1)
    assert read(rig, text).service.sandbox == "require"
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(SettingsError, match="'sandbox': 'require': this system has no Landlock"):
        read(rig, text)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (
            SIM + 'fps = 15\nfaults = [{ on = "capture", kind = "slow", seconds = 1.5 }]',
            BUILTIN["simulated"].driver,
            {
                "width_px": 1280,
                "height_px": 720,
                "fps": 15.0,
                "capture_duration_s": 0.1,
                "prepare_duration_s": 0.0,
                "open_duration_s": 0.0,
                "capture_during_live_view": False,
                "reports_progress": False,
                "faults": [{"on": "capture", "kind": "slow", "at": 1, "times": 1, "seconds": 1.5}],
            },
        ),
        (
            CV + "source = 2\nbackend = 'msmf'",
            BUILTIN["opencv"].driver,
            {
                "source": 2,
                "kind": "device",
                "backend": "msmf",
                "width_px": None,
                "height_px": None,
                "fps": None,
                "fourcc": "",
                "warmup_frames": 5,
                "loop": False,
                "repeat_limit": 30,
                "read_failures": 3,
                "read_timeout_s": 5.0,
                "snapshot_fps": 5.0,
                "snapshots_behind": 0,
                "tls_fingerprint": None,
            },
        ),
        (
            CV + 'source = "film.mp4"\nloop = true\nbackend = "ffmpeg"\nrepeat_limit = 9',
            BUILTIN["opencv"].driver,
            {
                "source": "film.mp4",
                "kind": "file",
                "backend": "ffmpeg",
                "width_px": None,
                "height_px": None,
                "fps": None,
                "fourcc": "",
                "warmup_frames": 0,
                "loop": True,
                "repeat_limit": 9,
                "read_failures": 0,
                "read_timeout_s": 5.0,
                "snapshot_fps": 5.0,
                "snapshots_behind": 0,
                "tls_fingerprint": None,
            },
        ),
        (
            PLUGIN + "options = { a = [1, 2.5, { b = 'c' }] }",
            "my.cameras:Mine",
            {"a": [1, 2.5, {"b": "c"}]},
        ),
        (PLUGIN, "my.cameras:Mine", {}),
    ],
)
def test_a_driver_gets_all_its_own_keys_as_plain_values(
    rig: Path, text: str, path: str, expected: dict[str, object]
) -> None:
    camera = read(rig, text).cameras[0]
    assert camera.driver_path == path
    assert camera.driver_settings() == expected


def test_a_device_index_as_text_is_an_index(rig: Path) -> None:
    assert read(rig, CV + 'source = "0"').cameras[0].driver_settings()["source"] == 0


def test_control_values_keep_their_types(rig: Path) -> None:
    text = SIM + '[cameras.controls]\nfocus = 8.2\nmode = "manual"\niso = 100\nlight = true'
    controls = read(rig, text).cameras[0].controls
    assert [(value, type(value)) for value in controls.values()] == [
        (8.2, float),
        ("manual", str),
        (100, int),
        (True, bool),
    ]


def test_settings_do_not_change(rig: Path) -> None:
    settings = read(rig, SIM)
    for table, key in (
        (settings, "cameras"),
        (settings.service, "listen"),
        (settings.cameras[0], "id"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(table, key, "x")


# Where values come from.


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    rig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMSVC_SERVICE__LISTEN", "[::1]:7")
    monkeypatch.setenv("CAMSVC_SERVICE__GRACE_S", "1.5")
    monkeypatch.setenv("CAMSVC_SERVICE__DATA_DIR", "2024")
    text = '[service]\nlisten = "localhost:1"\ngrace_s = 3\nlog_level = "debug"\n' + SIM
    service = read(rig, text, listen="0.0.0.0:0", log_level=None).service
    assert service.listen == "0.0.0.0:0"
    assert service.grace_s == 1.5
    assert service.log_level == "debug"
    assert service.data_dir == Path("2024")
    assert load(None).service.listen == "[::1]:7"


def test_a_key_by_itself_wins_over_the_whole_table_and_case_does_not_matter(
    rig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMSVC_SERVICE", '{"grace_s": 3, "log_level": "debug"}')
    monkeypatch.setenv("camsvc_service__grace_s", "1.5")
    service = read(rig, SIM).service
    assert (service.grace_s, service.log_level) == (1.5, "debug")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SERVICE__GRACE_S", "soon", "(environment): [service], key 'grace_s': 'soon' is not"),
        ("SERVICE__GRACE_S", "nan", "(environment): [service], key 'grace_s': nan is not"),
        ("SERVICE__INLINE_LIMIT_BYTES", "0.5", "key 'inline_limit_bytes': 0.5 is not allowed"),
        ("SERVICE__LISTN", "x", "(environment): [service], unknown key 'listn'; did you mean"),
        ("SERVICE", "[1", "CAMSVC_SERVICE (environment): '[1' is not a JSON object"),
        ("SERVICE", "7", "CAMSVC_SERVICE (environment): '7' is not a JSON object"),
    ],
)
def test_a_wrong_variable_is_named(
    rig: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"CAMSVC_{name}", value)
    (line,) = problems(rig, SIM)
    assert line.startswith(f"CAMSVC_{name} (environment)")
    assert expected in line


def test_a_wrong_option_of_the_command_line_is_named(rig: Path) -> None:
    (line,) = problems(rig, SIM, listen="here")
    assert line.startswith("command line: [service], key 'listen': 'here': allowed: HOST:PORT")


# What is wrong, and what is said about it.

DRIVERS = (
    'allowed: simulated, v4l2, opencv, gphoto2, picamera2, or the path "package.module:Class" of a '
    "driver of your own"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SIM + "widht_px = 9", "camera 'top', unknown key 'widht_px'; did you mean 'width_px'?"),
        (SIM + "x = 9", "camera 'top', unknown key 'x'; allowed: id, driver, attempts,"),
        (SIM + "source = 0", "camera 'top', unknown key 'source'"),
        (SIM + "fps = nan", "camera 'top', key 'fps': nan is not allowed; allowed: a number"),
        (SIM + "fps = inf", "camera 'top', key 'fps': inf is not allowed"),
        (SIM + "fps = 0", "camera 'top', key 'fps': 0 is not allowed; allowed: a number above 0"),
        (SIM + f"fps = 1{'0' * 400}", "camera 'top', key 'fps': 1000000"),
        (
            SIM + "attempts = 11",
            "camera 'top', key 'attempts': 11 is not allowed; allowed: a whole",
        ),
        (SIM + "attempts = 0", "allowed: a whole number at least 1 and at most 10; how often"),
        (SIM + "attempts = true", "camera 'top', key 'attempts': True is not allowed"),
        (SIM + "attempts = 2.0", "camera 'top', key 'attempts': 2.0 is not allowed"),
        (SIM + 'attempts = "3"', "camera 'top', key 'attempts': '3' is not allowed"),
        (SIM + "attempt_timeout_s = 0", "camera 'top', key 'attempt_timeout_s': 0 is not allowed"),
        (
            SIM + "open_at_start = 1",
            "key 'open_at_start': 1 is not allowed; allowed: true or false",
        ),
        (SIM + "width_px = 100", "allowed: a whole number at least 160 and at most 8,192; width"),
        (SIM + 'python = ""', "camera 'top', key 'python': '' is not allowed; allowed: text"),
        (SIM + "env = { A = 1 }", "camera 'top', key 'env.A': 1 is not allowed; allowed: text"),
        (SIM + "env = { 'A=' = 'b' }", "key 'env.A=': 'A=': allowed: names of environment"),
        (SIM + "controls = { f = nan }", "key 'controls.f': nan: nan is not a finite number"),
        (
            SIM + f"controls = {{ f = {1 << 63} }}",
            "key 'controls.f': 9223372036854775808: the number",
        ),
        (SIM + f"controls = {{ f = '{'x' * 1001}' }}", "1001 characters; allowed: up to 1000"),
        (SIM + "controls = { f = [1] }", "key 'controls.f': [1]: allowed: text, a number, true"),
        (SIM + "controls = 3", "camera 'top', key 'controls': 3 is not allowed; allowed: a table"),
        (CV, "camera 'top', key 'source' is missing; allowed: a whole number or text; device"),
        (CV + "source = -1", "camera 'top', key 'source': -1: allowed: a device's index, or the"),
        (CV + "source = true", "camera 'top', key 'source': True: allowed: a device's index"),
        (CV + 'source = ""', "camera 'top', key 'source': '': allowed: a device's index"),
        (CV + "source = 0\nwidth_px = 9", "'width_px' and 'height_px' go together: set both"),
        (
            CV + "source = 0\nloop = true",
            "key 'loop' is for files; this camera's source is a device",
        ),
        (
            CV + 'source = "a.mp4"\nfps = 9',
            "key 'fps' is for devices; this camera's source is a file",
        ),
        (
            CV + 'source = "http://a"\nfourcc = "MJPG"',
            "'fourcc' is for devices; this camera's source is a url",
        ),
        (CV + 'source = 0\nfourcc = "MJPEG"', "camera 'top', key 'fourcc': 'MJPEG' is not allowed"),
        (CV + 'source = 0\nbackend = "v4l"', "'v4l' is not allowed; allowed: 'any', 'v4l2', "),
        (CV + "source = 0\nrepeat_limit = 1", "'repeat_limit': 1 is not allowed; allowed: 0 (off)"),
        (
            PI + "source = -1",
            "camera 'top', key 'source': -1: allowed: a camera's number from 0 to",
        ),
        (PI + 'source = ""', "camera 'top', key 'source': '': allowed: a camera's number from 0"),
        (PI + "width_px = 641", "camera 'top', key 'width_px': 641: allowed: an even number, such"),
        (PI + "live_height_px = 480", "'live_width_px' and 'live_height_px' go together: set both"),
        (
            GP + "file_timeout_s = 10",
            "camera 'top', key 'file_timeout_s': 10: not less than attempt_timeout_s, 10; allowed",
        ),
        (
            GP + "attempt_timeout_s = 5",
            "camera 'top', key 'file_timeout_s': 8.0: not less than attempt_timeout_s, 5; allowed",
        ),
        (GP + 'port = "1"', "key 'port': '1' is not allowed; allowed: text of the form ^usb:"),
        (V4L2, "one of the keys 'device' and 'serial' is needed, and not both"),
        (V4L2 + 'device = 0\nserial = "1"', "one of the keys 'device' and 'serial' is needed"),
        (V4L2 + 'device = "film.mp4"', "allowed: a device's index, or its path such as /dev/video"),
        (V4L2 + "device = 0\nwidth_px = 640", "'width_px' and 'height_px' go together"),
        (PLUGIN + "options = { a = [nan] }", "{'a': [nan]}: nan is not a finite number"),
        (PLUGIN + "options = { a = 2024-01-01 }", "date 2024-01-01 is not allowed; allowed: text,"),
        (PLUGIN + "a = 1", "camera 'top', unknown key 'a'; allowed: id, driver, attempts"),
        (SIM.replace("simulated", "a b:C"), "camera 'top', key 'driver': 'a b:C' is not allowed"),
        (SIM.replace("simulated", "opencvv"), f"driver 'opencvv' is unknown; {DRIVERS}"),
        ('[[cameras]]\nid = "top"', f"key 'driver' is missing, or not text; {DRIVERS}"),
        (
            '[[cameras]]\nid = "top"\ndriver = 7',
            "camera 'top', key 'driver' is missing, or not text",
        ),
        (
            '[[cameras]]\ndriver = "simulated"',
            "camera number 1, key 'id' is missing; allowed: text",
        ),
        (SIM.replace("top", "Top"), "camera 'Top', key 'id': 'Top' is not allowed; allowed: text"),
        (SIM.replace("top", "a" * 64), "key 'id': 'aaaa"),
        (SIM.replace("top", ""), "camera '', key 'id': '' is not allowed"),
        (SIM + SIM, "cameras, key 'id': 'top' is used twice; every camera has its own"),
        ("", "no camera is configured; add at least one, such as: [[cameras]] with id = "),
        (
            '[camera]\nid = "a"',
            "unknown key 'camera'; did you mean 'cameras'? allowed: service, retention, cameras",
        ),
        (
            '[cameras]\nid = "a"',
            "{'id': 'a'} is not a camera; each is a table of its own, headed [[cameras]]",
        ),
        ("cameras = ['a']", "camera number 1, 'a' is not a camera; each is a table of its own"),
        ("service = 7\n" + SIM, "[service], 7 is not a table"),
        (
            "[service]\nport = 1\n" + SIM,
            "[service], unknown key 'port'; allowed: listen, metrics_listen, ",
        ),
        (
            '[service]\nlog_level = "INFO"\n' + SIM,
            "'INFO' is not allowed; allowed: 'debug', 'info'",
        ),
        ("[service]\ngrace_s = -1\n" + SIM, "[service], key 'grace_s': -1 is not allowed; allowed"),
        ("a", "not TOML: Expected '=' after a key in a key/value pair (at "),
        (SIM + "fps = 1\nfps = 2", "not TOML: Cannot overwrite a value (at "),
    ],
)
def test_one_mistake_is_one_line(rig: Path, text: str, expected: str) -> None:
    lines = problems(rig, text)
    assert expected in lines[0]
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("pair = 3", "options, key 'pair': 3 is not allowed; "),
        ("either = 'x'", "options, key 'either': 'x' is not allowed; "),
        ("folder = 3", "options, key 'folder': 3 is not allowed; "),
        ("parts = { a = { size = 1.5 } }", "options, key 'parts.a.size': 1.5 is not allowed; "),
        ("one = { size = 1.5 }", "options, one, key 'size': 1.5 is not allowed; "),
        ("one = 3", "options, one, 3 is not a table"),
        ("other-name = 'x'", "options, key 'other-name': 'x' is not allowed; "),
        ("hook = 3", "options, key 'hook': 3 is not allowed; "),
    ],
)
def test_a_plug_ins_model_may_have_keys_of_any_kind(rig: Path, options: str, expected: str) -> None:
    model = 'options_model = "tests.support.odd_settings:OddSettings"'
    for line in problems(rig, f"{PLUGIN}{model}\noptions = {{ {options} }}"):
        assert line.startswith(f"camera 'top', {expected}")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("7", "faults[0], 7 is not a table"),
        ('{ kind = "hang" }', "faults[0], key 'on' is missing; allowed: 'open', 'read', 'prepare'"),
        (
            '{ on = "opn", kind = "hang" }',
            "key 'on': 'opn' is not allowed; allowed: 'open', 'read'",
        ),
        ('{ on = "open", kind = "fire" }', "'fire' is not allowed; allowed: 'hang', 'hang_gil'"),
        ('{ on = "open", kind = "hang", at = 0 }', "key 'at': 0 is not allowed; allowed: a whole"),
        ('{ on = "open", kind = "hang", times = -1 }', "key 'times': -1 is not allowed"),
        (
            '{ on = "open", kind = "hang", seconds = 1 }',
            "kind 'hang' takes no key 'seconds'; allowed",
        ),
        ('{ on = "open", kind = "slow" }', "faults[0], kind 'slow' needs the key 'seconds'"),
        ('{ on = "open", kind = "disconnect" }', "kind 'disconnect' needs the key 'seconds'"),
        ('{ on = "open", kind = "slow", seconds = nan }', "key 'seconds': nan is not allowed"),
        (
            '{ on = "open", kind = "stale" }',
            "kind 'stale' cannot strike 'open'; allowed: read, capture",
        ),
        ('{ on = "close", kind = "corrupt" }', "kind 'corrupt' cannot strike 'close'"),
        ('{ on = "open", kind = "hang", x = 1 }', "unknown key 'x'; allowed: on, kind, at"),
    ],
)
def test_a_wrong_fault_is_one_line(rig: Path, fault: str, expected: str) -> None:
    (line,) = problems(rig, f"{SIM}faults = [{fault}]")
    assert line.startswith("camera 'top', faults[0], ")
    assert expected in line


@pytest.mark.parametrize(
    "listen",
    [
        "",
        "here",
        ":1",
        "localhost",
        "localhost:",
        "a:65536",
        "a:-1",
        "::1:80",
        "[]:1",
        "a:x",
        "a:1 ",
    ],
)
def test_addresses_that_cannot_be_listened_on(rig: Path, listen: str) -> None:
    (line,) = problems(rig, f'[service]\nlisten = "{listen}"\n{SIM}')
    assert line.startswith(f"[service], key 'listen': '{listen}': allowed: HOST:PORT")


@pytest.mark.parametrize("listen", ["localhost:0", "0.0.0.0:50051", "[::1]:65535", "[::]:1"])
def test_addresses_that_can(rig: Path, listen: str) -> None:
    assert read(rig, f'[service]\nlisten = "{listen}"\n{SIM}').service.listen == listen


def test_all_mistakes_are_told_at_once(rig: Path) -> None:
    text = f"[service]\ngrace_s = -1\n{SIM}fps = 0\nx = 1\n{CV}source = -1"
    assert len(problems(rig, text)) == 4


def test_a_file_that_cannot_be_read(rig: Path, tmp_path: Path) -> None:
    for path, expected in ((rig, "the file does not exist"), (tmp_path, "a folder; allowed: a")):
        with pytest.raises(SettingsError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: {expected}")
    rig.write_bytes(b"\xff\xfe[\x00")
    with pytest.raises(SettingsError, match="not a text file in UTF-8"):
        load(rig)


def test_a_byte_order_mark_does_no_harm(rig: Path) -> None:
    rig.write_bytes(b"\xef\xbb\xbf" + SIM.encode())
    assert load(rig).cameras[0].id == "top"


def test_a_mistake_leaves_no_traceback_of_pydantic(rig: Path) -> None:
    rig.write_text(SIM + "fps = 0")
    with pytest.raises(SettingsError) as caught:
        load(rig)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
