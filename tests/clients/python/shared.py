"""A service that several tests share: it outlives their event loops."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_START_S, _STOP_S = 60.0, 60.0


@contextlib.contextmanager
def serving(folder: Path, settings: str) -> Iterator[str]:
    """Run `camsvc serve` with settings as TOML, and its data in a folder; give its address."""
    config, log = folder / "camsvc.toml", folder / "service.log"
    config.write_text('[service]\nmetrics_listen = "127.0.0.1:0"\nlog_format = "json"\n' + settings)
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "camsvc", "serve", "--config", str(config)),
                *("--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")),
            ],
            stderr=stderr,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        code = process.wait(_STOP_S)
        print(log.read_text()[-6000:])
    assert code == 0
    assert "Traceback" not in log.read_text()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until it serves; return where."""
    give_up_at = time.monotonic() + _START_S
    while True:
        for line in log.read_text().split("\n")[:-1]:
            entry = json.loads(line)
            if entry.get("event") == "serving":
                return str(entry["listen"])
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up_at, log.read_text()
        time.sleep(0.01)
