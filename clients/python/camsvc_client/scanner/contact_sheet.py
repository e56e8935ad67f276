"""The contact sheet: a thumbnail of every picture, on one page. Needs Pillow (extra `scan`)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from camsvc_client.files import write_whole
from camsvc_client.scanner.ledger import Key, Ledger

if TYPE_CHECKING:
    import PIL.Image

FILE = "contact-sheet.jpg"
_TILE_PX, _LINE_PX, _GAP_PX = 160, 12, 6
_MOST_COLUMNS = 12


def possible() -> bool:
    """Whether Pillow is installed."""
    return find_spec("PIL") is not None


def write(ledger: Ledger, thumbnails: Mapping[Key, bytes]) -> Path:
    """Write the sheet: the pictures of a point side by side, in the order of the points.

    Those in `thumbnails` are drawn from there, the others from their files. A picture that is
    missing or cannot be read leaves a grey tile.

    Raises:
        ImportError: Pillow is not installed.
    """
    import PIL.Image  # noqa: PLC0415 - optional
    import PIL.ImageDraw  # noqa: PLC0415 - optional

    plan = ledger.plan
    places = [(point, camera) for point in plan.points for camera in plan.cameras]
    columns = _columns(len(places), len(plan.cameras))
    width, height = _TILE_PX + _GAP_PX, _TILE_PX + 2 * _LINE_PX + _GAP_PX
    size = (columns * width + _GAP_PX, -(-len(places) // columns) * height + _GAP_PX)
    sheet = PIL.Image.new("RGB", size, "white")
    draw = PIL.ImageDraw.Draw(sheet)
    for index, (point, camera) in enumerate(places):
        left = _GAP_PX + index % columns * width
        top = _GAP_PX + index // columns * height
        key = (point.number, camera)
        tile = _tile(ledger, key, thumbnails)
        if tile is None:
            draw.rectangle((left, top, left + _TILE_PX - 1, top + _TILE_PX - 1), "lightgrey")
            reason = "no preview" if key in ledger.saved else "missing"
            draw.text((left + _GAP_PX, top + _GAP_PX), reason, fill="black")
        else:
            sheet.paste(tile, (left, top + _TILE_PX - tile.height))
        below = top + _TILE_PX
        draw.text((left, below), f"{point.number:04d} {camera}", fill="black")
        axes = "  ".join(f"{name} {value:g}" for name, value in point.axes.items())
        draw.text((left, below + _LINE_PX), axes, fill="dimgrey")
    encoded = io.BytesIO()
    sheet.save(encoded, "JPEG", quality=85)
    path = ledger.folder / FILE
    write_whole(path, encoded.getvalue())
    return path


def _columns(tiles: int, cameras: int) -> int:
    """Return how many tiles stand in a row: a point's are not torn apart where they fit."""
    most = max(1, _MOST_COLUMNS // cameras) * cameras if cameras <= _MOST_COLUMNS else _MOST_COLUMNS
    return min(most, tiles)


def _tile(ledger: Ledger, key: Key, thumbnails: Mapping[Key, bytes]) -> PIL.Image.Image | None:
    import PIL.Image  # noqa: PLC0415 - optional

    row = ledger.saved.get(key)
    if row is None:
        return None
    source = io.BytesIO(thumbnails[key]) if key in thumbnails else ledger.folder / row["file"]
    try:
        with PIL.Image.open(source) as picture:
            picture.draft("RGB", (_TILE_PX, _TILE_PX))  # a JPEG is decoded small, which is quick
            tile = picture.convert("RGB")
    except OSError:
        return None
    tile.thumbnail((_TILE_PX, _TILE_PX))
    return tile
