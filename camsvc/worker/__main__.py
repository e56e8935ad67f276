"""Start a worker; run by path, so that any interpreter can.

Under another interpreter (Raspberry Pi OS keeps picamera2 with the system's) the service's own
packages must not be seen: their compiled parts belong to another Python. So only the package
`camsvc` is made importable, by its place, and not the folder it lies in.
"""

import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.pop(0)  # this file's own folder, which running by path puts there
    if importlib.util.find_spec("camsvc") is None:
        package = Path(__file__).parents[1]
        spec = importlib.util.spec_from_file_location(
            "camsvc", package / "__init__.py", submodule_search_locations=[str(package)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["camsvc"] = module
        spec.loader.exec_module(module)

    from camsvc.worker.loop import main

    main(sys.argv[1:])
