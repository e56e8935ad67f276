"""Small pictures for lists: JPEGs, upright, with the colours of what they are made of."""

import io

from camsvc.model import adobe_rgb

SIDE_PX = 320

_QUALITY_PERCENT = 85

_COLOURS = {"L": b"GRAY", "RGB": b"RGB "}
"""What a colour profile is for, as it says itself."""


def thumbnail_of(data: bytes) -> bytes | None:
    """Return the thumbnail of a picture's bytes, a JPEG of at most 320 pixels on its longer side.

    None when none can be made of them.
    """
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
