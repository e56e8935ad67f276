"""Start a worker: `python -m camsvc.worker`, or by this file's path, so that any interpreter can.

Under another interpreter (Raspberry Pi OS keeps picamera2 with the system's) the service's own
packages must not be seen: their compiled parts belong to another Python. So only the package
`camsvc` is made importable, by its place, and not the folder it lies in.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path


def _make_importable(package: Path) -> None:
    loader = SourceFileLoader(package.name, str(package / "__init__.py"))
    spec = ModuleSpec(package.name, loader, origin=loader.path, is_package=True)
    spec.has_location = True
    spec.submodule_search_locations = [str(package)]
    module = importlib.util.module_from_spec(spec)
    sys.modules[package.name] = module
    loader.exec_module(module)


if __name__ == "__main__":
    if not __package__:
        sys.path.pop(0)  # this file's own folder, which running by path puts there
        if importlib.util.find_spec("camsvc") is None:
            _make_importable(Path(__file__).parents[1])

    from camsvc.worker.loop import main

    main(sys.argv[1:])
