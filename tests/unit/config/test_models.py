"""The models of the settings: complete, described, apart from the drivers; and the example."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from camsvc.config.cameras import CameraSettings, PluginSettings, driver_model, parse_camera
from camsvc.config.settings import RetentionSettings, ServiceSettings, load
from camsvc.drivers.settings import Table
from camsvc.drivers.simulated.settings import Fault
from camsvc.model.registry import BUILTIN

EXAMPLE = Path(__file__).parents[3] / "deploy/camsvc.example.toml"

MODELS: dict[str, type[Table]] = {
    "service": ServiceSettings,
    "retention": RetentionSettings,
    "cameras": CameraSettings,
    "faults": Fault,
    "plugin": PluginSettings,
    **{name: driver_model(name) for name in BUILTIN},
}


@pytest.mark.parametrize("name", MODELS)
def test_every_key_is_described(name: str) -> None:
    assert [key for key, f in MODELS[name].model_fields.items() if not f.description] == []


@pytest.mark.parametrize("name", BUILTIN)
def test_a_drivers_keys_are_its_own(name: str) -> None:
    assert not set(MODELS[name].model_fields) & set(CameraSettings.model_fields)


@pytest.mark.parametrize("name", sorted(BUILTIN.keys() - {"simulated"}))
def test_what_selects_a_device_is_marked(name: str) -> None:
    assert driver_model(name).selecting()


def test_settings_are_read_without_any_library_of_a_camera() -> None:
    code = (
        "import sys; from pathlib import Path; from camsvc.config.settings import load;"
        f"load(Path({str(EXAMPLE)!r})); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "camsvc.drivers.opencv.settings" in loaded
    assert not loaded & {"cv2", "numpy", "gphoto2", "picamera2", "libcamera", "PIL"}
    drivers = {name for name in loaded if name.startswith("camsvc.drivers.")}
    assert {name for name in drivers if name.endswith(".camera")} == set()


# The example that is shipped.


def sections() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the example's tables: the model's name, the keys that are set, those commented out.

    A commented line of the form `key = value` is a key; a table of a camera goes on over headers of
    its own tables, apart from that of its faults.
    """
    for text in re.split(r"(?m)^(?=(?:# )?\[)", EXAMPLE.read_text()):
        header = re.match(r"(?:# )?\[+([\w.]+)\]", text)
        if header is None:
            continue
        given: dict[str, Any] = {}
        shown: dict[str, Any] = {}
        for line in text.splitlines()[1:]:
            match = re.match(r"(# )?(\w+ = .*)", line)
            if match:
                (shown if match[1] else given).update(tomllib.loads(match[2]))
        name = header[1].rpartition(".")[2]
        yield str((given | shown).get("driver", name)), given, shown


SECTIONS = list(sections())


def test_the_example_loads() -> None:
    ids = [camera.id for camera in load(EXAMPLE).cameras]
    assert ids == ["top", "side", "gate", "dslr", "left", "film", "sim0"]


def shown_in(name: str) -> set[str]:
    """Return the keys that the example shows of a model."""
    plugin = "my_package.my_module:MyCamera"
    names = {"cameras": set(BUILTIN), "plugin": {*BUILTIN, plugin}}
    tables = [(g | s) for at, g, s in SECTIONS if at in names.get(name, {name})]
    return {key for table in tables for key in table}


@pytest.mark.parametrize("name", MODELS)
def test_the_example_shows_every_key(name: str) -> None:
    tables = {"controls", "faults"}  # have headers of their own
    assert set(MODELS[name].model_fields) - shown_in(name) - tables == set()


@pytest.mark.parametrize(
    ("name", "given", "shown"),
    [pytest.param(*each, id=f"{each[0]}-{number}") for number, each in enumerate(SECTIONS)],
)
def test_what_the_example_comments_out_is_the_default(
    name: str, given: dict[str, Any], shown: dict[str, Any]
) -> None:
    """Where there is one: what only the device decides, or is chosen instead, has none."""
    if name in BUILTIN:
        table = parse_camera(given).model_dump(mode="json")
    elif name in ("service", "retention", "faults"):
        table = MODELS[name](**given).model_dump(mode="json")
    else:
        return
    table = {key: value for key, value in table.items() if value not in (None, {}, [])}
    if "data_dir" in table:
        shown["data_dir"] = str(Path(shown["data_dir"]).expanduser())
    assert {k: v for k, v in shown.items() if k in table} == {
        k: v for k, v in table.items() if k in shown
    }
