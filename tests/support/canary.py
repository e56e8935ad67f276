"""One password for every camera of every test, which may be nowhere in what the tests leave behind.

Each `source` that has a password or a token has this one in it. A test fails that prints it, logs
it, has it in its name, or leaves it in a file of its own, such as a journal; the settings' file
aside. In whatever form: it has nothing to encode, and in base64 it is one of three.
"""

import base64
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

CANARY = "canary7Wf2kQ9xZb"
_STANDS_FOR_IT = "<the password>"
_MOST_BYTES = 256 << 20
_SETTINGS = (".toml",)


def forms() -> list[str]:
    """Return what the password looks like, plain and in base64 at any place of a text."""
    found = [CANARY]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + CANARY.encode()).decode()
        # Without what the characters before and behind it change.
        found.append(encoded[4 if shift else 0 : -4])
    return found


def holds(text: str | bytes) -> bool:
    """Whether the password is in a text."""
    data = text.encode(errors="replace") if isinstance(text, str) else text
    return any(form.encode() in data for form in forms())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that shows the password, and do not show it because of that."""
    report = yield
    where = list(_places(item, report))
    if where:
        report.outcome = "failed"
        failed = _hidden(report.longreprtext)
        report.longrepr = f"{failed}\na camera's password is shown: {', '.join(where)}"
        report.sections = [(name, _hidden(text)) for name, text in report.sections]
        report.nodeid = _hidden(report.nodeid)
        report.location = (*report.location[:2], _hidden(report.location[2]))
    return report


def _places(item: pytest.Item, report: pytest.TestReport) -> Iterator[str]:
    said = {"its name": report.nodeid, "its report": report.longreprtext, **dict(report.sections)}
    yield from (name for name, text in said.items() if holds(text))
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if report.when == "teardown" and isinstance(folder, Path):
        yield from (str(path.relative_to(folder)) for path in _files(folder) if _has_it(path))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix not in _SETTINGS:
            yield path


def _has_it(path: Path) -> bool:
    try:
        return path.stat().st_size <= _MOST_BYTES and holds(path.read_bytes())
    except OSError:  # it has just gone
        return False


def _hidden(text: str) -> str:
    for form in forms():
        text = text.replace(form, _STANDS_FOR_IT)
    return text
