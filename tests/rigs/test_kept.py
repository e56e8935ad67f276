"""A rig is made once for each recipe, by one process, and counts only when it is whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rigs import kept
from tests.rigs.running import RigMissing

MAKES = """
import sys
from pathlib import Path
from tests.rigs import kept

def make(folder):
    (folder / "begun").touch()
    with open(sys.argv[1], "a") as log:
        log.write("made\\n")
    if len(sys.argv) > 2:
        print("half-way", flush=True)
        sys.stdin.read()
    (folder / "whole").touch()

print(kept.rig("it", [], make))
"""
ROOT = Path(__file__).parents[2]
BOUND_S = 30


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "camsvc-rigs"


def start(log: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MAKES, str(log), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_make_it_once(tmp_path: Path, cache: Path) -> None:
    log = tmp_path / "log"
    first = start(log, "slowly")
    assert first.stdout is not None
    assert first.stdout.readline() == "half-way\n"
    second = start(log)
    (made,) = cache.glob("it-*.part")
    assert (made / "begun").exists()
    first_said, _ = first.communicate("", timeout=BOUND_S)
    second_said, _ = second.communicate("", timeout=BOUND_S)
    assert first_said == second_said
    assert sorted(path.name for path in Path(first_said.strip()).iterdir()) == ["begun", "whole"]
    assert log.read_text() == "made\n"


def test_what_a_killed_process_left_half_made_does_not_count(tmp_path: Path, cache: Path) -> None:
    log = tmp_path / "log"
    first = start(log, "slowly")
    assert first.stdout is not None
    assert first.stdout.readline() == "half-way\n"
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=BOUND_S)
    said, _ = start(log).communicate("", timeout=BOUND_S)
    assert (Path(said.strip()) / "whole").exists()
    assert not list(cache.glob("*.part"))


def test_another_recipe_is_another_rig(tmp_path: Path) -> None:
    source = tmp_path / "camera.c"
    found = []
    for text, facts in (("one", ()), ("two", ()), ("two", ("-O2",)), ("one", ())):
        source.write_text(text)
        found.append(kept.rig("it", [source], lambda folder: None, facts=facts))
    assert len(set(found)) == 3
    assert found[0] == found[3]


def test_what_fails_is_not_tried_again_by_the_same_process(cache: Path) -> None:
    tries = []

    def make(folder: Path) -> None:
        tries.append(folder)
        raise RigMissing("no network")

    for _ in range(2):
        with pytest.raises(RigMissing, match="no network"):
            kept.rig("it", [], make)
    assert len(tries) == 1
    assert [path.name for path in cache.iterdir()] == ["it.lock"]


def test_a_rig_unused_for_long_goes_when_another_is_made() -> None:
    old, used = (kept.rig("it", [], lambda folder: None, facts=[fact]) for fact in "ab")
    month_ago = time.time() - 31 * 24 * 3600
    for path in (old, used):
        os.utime(path, (month_ago, month_ago))
    kept.rig("it", [], lambda folder: None, facts="b")
    kept.rig("it", [], lambda folder: None, facts="c")
    assert not old.exists()
    assert used.exists()
