"""Small pictures for lists, made when they are first asked for."""

import asyncio
import io
from collections import OrderedDict

from camsvc.model import adobe_rgb
from camsvc.model.errors import Unsupported
from camsvc.model.records import CaptureRecord
from camsvc.storage.archive import Archive

MIME_TYPE = "image/jpeg"
SIDE_PX = 320

_QUALITY_PERCENT = 85

_READABLE = ("image/jpeg", "image/png")

_COLOURS = {"L": b"GRAY", "RGB": b"RGB "}
"""What a colour profile is for, as it says itself."""

_KEPT = 200
"""Thumbnails kept in memory, about 10 KB each: what a few people leaf through."""


class Thumbnails:
    """An archive's thumbnails. They are made one at a time, on a thread."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._making = asyncio.Lock()

    async def get(self, capture_id: str) -> bytes:
        """Return the thumbnail of a capture: a JPEG of at most 320 pixels on its longer side.

        Raises:
            CaptureNotFound: there is no such picture.
            Unsupported: none can be made of it.
        """
        async with self._archive.open_image(capture_id, _easiest) as picture, self._making:
            made = self._made.pop(capture_id, None)
            if made is None:
                data = await picture.read(0, picture.image.size_bytes)
                made = await asyncio.to_thread(thumbnail_of, data)
        if made is None:
            mime_type = picture.image.mime_type
            raise Unsupported(
                f"capture {capture_id!r}: no thumbnail can be made of its {mime_type}; download "
                "the original",
                metadata={"camera": picture.record.camera, "capture_id": capture_id},
            )
        self._made[capture_id] = made
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return made


def _easiest(record: CaptureRecord) -> int:
    """Return the number of the file to make a thumbnail of: the first that is not a RAW."""
    readable = (n for n, file in enumerate(record.files) if file.mime_type in _READABLE)
    return next(readable, 0)


def thumbnail_of(data: bytes) -> bytes | None:
    """Return the thumbnail of a picture's bytes; None when none can be made of them. Blocks."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - imported with the first thumbnail

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "TIFF")) as picture:
            picture.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail((SIDE_PX, SIDE_PX))
            if upright.mode.startswith("I"):  # 16 bits, which `convert` would cut, not scale
                upright = upright.point(lambda value: value * (1 / 256))
            small = upright if upright.mode == "L" else upright.convert("RGB")
            # What the numbers mean goes with them, unless it is for the numbers of a CMYK picture.
            profile = picture.info.get("icc_profile", b"")
            if not profile:
                others = picture.getexif().get_ifd(adobe_rgb.OTHERS_TABLE)
                profile = adobe_rgb.PROFILE if others.get(1) == adobe_rgb.SIGN else b""
            about = {"icc_profile": profile} if profile[16:20] == _COLOURS[small.mode] else {}
            out = io.BytesIO()
            # With a colour for each pixel: there are few.
            small.save(out, "JPEG", quality=_QUALITY_PERCENT, subsampling="4:4:4", **about)
    except Exception:  # damaged bytes make the decoders raise whatever they come across
        return None
    return out.getvalue()
