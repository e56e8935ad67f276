"""The tests of the TypeScript client, each file of them as one test, so that they run side by side.

`make test` compiles them before; `make test-ts` runs them alone, one file after the other.
"""

import subprocess
from pathlib import Path

import pytest

from tests.support.left_out import lacking

_CLIENT = Path(__file__).parents[3] / "clients" / "typescript"
_TEST_S = 600.0  # the longest takes a minute or two, on a machine that is not busy


@pytest.mark.timeout(_TEST_S + 20)
@pytest.mark.parametrize(
    "name", sorted(path.name[: -len(".ts")] for path in (_CLIENT / "test").glob("*.test.ts"))
)
def test_in_node(name: str) -> None:
    """Node's own runner passes the file, and has run something."""
    if not (_CLIENT / "build" / "test" / f"{name}.js").exists():
        lacking("the TypeScript client's tests are not compiled", "make test, which compiles them")
    command = ["node", "--test", "--test-reporter", "spec", f"build/test/{name}.js"]
    ended = subprocess.run(
        command, cwd=_CLIENT, capture_output=True, text=True, timeout=_TEST_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "pass 0\n" not in ended.stdout, f"{name} holds no test"
