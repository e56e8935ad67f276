"""Generate the TypeScript code of the contract: protos -> clients/typescript/src/gen.

    python -m scripts.gen_ts            write it, stale files removed
    python -m scripts.gen_ts --check    change nothing; exit 1 and list what differs

Needs Node 20 or newer, `npm ci` done in clients/typescript, and buf next to the running Python.
protoc-gen-es decides the bytes that come out; its version is in clients/typescript/package.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.gen import PROTOS, ROOT, differences

CLIENT = ROOT / "clients" / "typescript"
OUT = Path("src") / "gen"
PLUGIN = "@bufbuild/protoc-gen-es"


def check_tools() -> None:
    """Exit with a message unless the plug-in is installed in the version that is wanted."""
    wanted = json.loads((CLIENT / "package.json").read_text("utf-8"))["devDependencies"][PLUGIN]
    installed = CLIENT / "node_modules" / PLUGIN / "package.json"
    found = json.loads(installed.read_text("utf-8"))["version"] if installed.exists() else "none"
    if found != wanted:
        sys.exit(f"gen_ts: {PLUGIN} {wanted} is needed, found {found}: npm ci in {CLIENT}")
    if shutil.which("node") is None:
        sys.exit("gen_ts: node is not on the PATH")


def generate(folder: Path) -> Path:
    """Make the code under `folder`, which stands for the repository; return where it is."""
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if buf is None:
        sys.exit(f"gen_ts: buf not found next to {sys.executable}")
    # Where it goes is in protos/buf.gen.yaml, relative to protos.
    (folder / "protos").mkdir(exist_ok=True)
    command = (buf, "generate", "--output", str(folder / "protos"))
    if subprocess.run(command, cwd=PROTOS, check=False).returncode != 0:
        sys.exit("gen_ts: buf failed")
    return folder / "clients" / "typescript" / OUT


def main() -> None:
    """Generate, or check."""
    parser = argparse.ArgumentParser(description="Generate the TypeScript code of the contract.")
    parser.add_argument("--check", action="store_true", help="change nothing, list differences")
    arguments = parser.parse_args()
    check_tools()
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        changed = differences(CLIENT / OUT, fresh)
        if changed and not arguments.check:
            shutil.rmtree(CLIENT / OUT, ignore_errors=True)
            shutil.copytree(fresh, CLIENT / OUT)
    if changed and arguments.check:
        print(f"gen_ts: {CLIENT / OUT} is not what protos/ gives; run make gen:")
        print("\n".join(f"  {name}" for name in changed))
        sys.exit(1)


if __name__ == "__main__":
    main()
