"""A scanner: a stage moves an object or cameras from point to point, and each takes its pictures.

`Scan` does it, resumes after any interruption, and writes a manifest. `camctl scan` is its command
line; `examples/scanner` shows a stage of one's own.
"""

from camsvc_client.scanner.pattern import Point, cylinder, grid
from camsvc_client.scanner.plan import Plan, PlanDiffers
from camsvc_client.scanner.prepare import CannotScan
from camsvc_client.scanner.scan import Progress, Scan, ScanResult
from camsvc_client.scanner.stage import SimulatedStage, Stage

__all__ = [
    "CannotScan",
    "Plan",
    "PlanDiffers",
    "Point",
    "Progress",
    "Scan",
    "ScanResult",
    "SimulatedStage",
    "Stage",
    "cylinder",
    "grid",
]
