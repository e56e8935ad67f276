"""Generate the Python code of the contract: protos/camapi -> clients/python/camapi.

    python scripts/gen.py [OUTPUT]     write it (default: clients/python), stale files removed
    python scripts/gen.py --check      change nothing; exit 1 and list what differs from OUTPUT

Needs grpcio-tools and mypy-protobuf in the environment of the Python that runs it. Their versions
decide the bytes that come out, so a run with other versions than those named below is refused.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = "camapi"

# grpcio-tools 1.76 makes code that runs on protobuf 6.31 up to 7; later ones shut out protobuf 6.
TOOLS = {"grpcio-tools": "1.76.0", "mypy-protobuf": "5.1.0"}

# Files that no plug-in makes. All of the package is generated, so that stale files can go with it.
FIXED = {
    "__init__.py": '"""The contract of the camera service, one sub-package for each version."""\n',
    "v1/__init__.py": '"""Generated from protos/camapi/v1 by scripts/gen.py. Do not edit."""\n',
    "py.typed": "",
}


def check_tools() -> None:
    """Exit with a message unless the generators are installed in the versions in `TOOLS`."""
    for name, wanted in TOOLS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "none"
        if found != wanted:
            sys.exit(f"gen: {name} {wanted} is needed, found {found} (in {sys.prefix})")


def plugin(name: str) -> str:
    """Give protoc's option for the plug-in of this name next to the running Python."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        sys.exit(f"gen: {name} not found next to {sys.executable}")
    return f"--plugin={name}={path}"


def protoc(*arguments: str) -> None:
    """Run protoc on the contract's folders; exit if it fails."""
    paths = (f"--proto_path={PROTOS}", f"--proto_path={PROTOS / 'third_party'}")
    command = (sys.executable, "-m", "grpc_tools.protoc", *paths, *arguments)
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("gen: protoc failed, nothing was changed")


def generate(output: Path) -> None:
    """Make the whole package in `output`, replacing what is there."""
    sources = sorted(p.relative_to(PROTOS).as_posix() for p in PROTOS.glob("camapi/**/*.proto"))
    # For files without a service the gRPC plug-ins make modules without content.
    services = [source for source in sources if source.endswith("_service.proto")]
    with tempfile.TemporaryDirectory() as folder:
        messages_out = (f"--python_out={folder}", f"--mypy_out=quiet:{folder}")
        services_out = (f"--grpc_python_out={folder}", f"--mypy_grpc_out=quiet:{folder}")
        protoc(plugin("protoc-gen-mypy"), *messages_out, *sources)
        protoc(plugin("protoc-gen-mypy_grpc"), *services_out, *services)
        made = Path(folder) / PACKAGE
        for name, text in FIXED.items():
            (made / name).write_text(text, encoding="utf-8")
        shutil.rmtree(output / PACKAGE, ignore_errors=True)
        shutil.copytree(made, output / PACKAGE)


def contents(folder: Path, part: str) -> dict[str, bytes]:
    """Return the files below a part of a folder, by their names in the folder."""
    files = (path for path in (folder / part).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(b"\r\n", b"\n")
        for path in files
        if "__pycache__" not in path.parts
    }


def differences(output: Path, fresh: Path, part: str = ".") -> list[str]:
    """List in words how a part of one folder differs from the same part, made in the other."""
    have, want = contents(output, part), contents(fresh, part)
    return [
        *(f"missing: {name}" for name in sorted(want.keys() - have.keys())),
        *(f"stale:   {name}" for name in sorted(have.keys() - want.keys())),
        *(f"differs: {name}" for name in sorted(have) if have[name] != want.get(name, have[name])),
    ]


def main() -> None:
    """Generate, or check."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the contract.")
    parser.add_argument("output", nargs="?", type=Path, default=ROOT / "clients" / "python")
    parser.add_argument("--check", action="store_true", help="change nothing, list differences")
    arguments = parser.parse_args()
    check_tools()
    if not arguments.check:
        generate(arguments.output)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        found = differences(arguments.output, Path(folder), PACKAGE)
    if found:
        print(f"gen: {arguments.output} is not what protos/ gives; run scripts/gen.py:")
        print("\n".join(f"  {line}" for line in found))
        sys.exit(1)


if __name__ == "__main__":
    main()
