"""The manifest: what a photogrammetry program needs to know of each picture, as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from camapi.v1 import camera_pb2 as pb

from camsvc_client.files import write_whole
from camsvc_client.scanner.ledger import Key, Ledger
from camsvc_client.scanner.pattern import Point
from camsvc_client.scanner.plan import FOCUS
from camsvc_client.values import control_value, utc

CSV_FILE, JSON_FILE = "manifest.csv", "manifest.json"


def row(point: Point, capture: pb.Capture, file: str) -> dict[str, Any]:
    """Return a picture's row: times in UTC, the file relative to the scan's folder."""
    focus = next((control_value(c.value) for c in capture.controls if c.name == FOCUS), None)
    exposure = capture.exposure_duration
    return {
        "point": point.number,
        **point.axes,
        "camera": capture.camera,
        "file": file,
        "sha256": capture.image.sha256,
        "acquisition_time": utc(capture.acquisition_time).isoformat(timespec="microseconds"),
        "focus_distance_diopters": focus,
        "exposure_us": (
            exposure.ToMicroseconds() if capture.HasField("exposure_duration") else None
        ),
        "width_px": capture.image.width_px,
        "height_px": capture.image.height_px,
        "size_bytes": capture.image.size_bytes,
        "capture_id": capture.capture_id,
    }


def missing(failed: Mapping[Key, str]) -> list[dict[str, Any]]:
    """Return which pictures are missing, and why."""
    rows = sorted(failed.items())
    return [{"point": number, "camera": camera, "why": why} for (number, camera), why in rows]


def write(ledger: Ledger) -> None:
    """Write both files, of the pictures there are, in the order of the points."""
    rows = [ledger.saved[key] for key in sorted(ledger.saved)]
    document = {
        "scan_id": str(ledger.scan_id),
        "plan": ledger.plan.document(),
        "pictures": rows,
        "missing": missing(ledger.failed),
    }
    text = json.dumps(document, indent=2) + "\n"
    write_whole(ledger.folder / JSON_FILE, text.encode(), sync=True)
    write_whole(ledger.folder / CSV_FILE, _csv(rows).encode(), sync=True)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = dict.fromkeys(name for row in rows for name in row)  # points may differ in their axes
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
