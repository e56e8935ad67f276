"""JPEGs of every structure, and a strict decoder that knows nothing of our code: libjpeg-turbo."""

import io
import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageCms

WIDTH, HEIGHT = 120, 72
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TRAILERS = {
    "nothing": b"",
    "zeros": bytes(9000),
    "a video": b"\0\0\0\x18ftypmp42" + random.Random(1).randbytes(20_000) + b"\xff\xd9",
    "an end marker": b"\xff\xd9",
    "half a marker": b"\xff",
}


def photo(mode: str = "RGB", width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Return a picture that is the same in no other orientation, with some grain."""
    y, x = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(1).integers(0, 40, (height, width))
    planes = [x * 200 / width + grain, y * 200 / height + grain, (x + 2 * y) % 200 + grain]
    return Image.fromarray(np.dstack(planes).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    """Return a JPEG as Pillow writes it with these options."""
    out = io.BytesIO()
    (image or photo()).save(out, "JPEG", **{"quality": 85, **options})
    return out.getvalue()


def exif(orientation: int, **more: object) -> Image.Exif:
    """Return EXIF that says how the camera was held."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


KINDS = {
    "baseline": jpeg(),
    "4:4:4": jpeg(subsampling=0),
    "4:2:2": jpeg(subsampling=1),
    "grey": jpeg(photo("L")),
    "CMYK": jpeg(photo("CMYK")),
    "tables of its own": jpeg(optimize=True),
    "progressive": jpeg(progressive=True),
    "progressive grey": jpeg(photo("L"), progressive=True),
    "restart each MCU": jpeg(restart_marker_blocks=1),
    "restart each third": jpeg(restart_marker_blocks=3),
    "restart each row": jpeg(restart_marker_rows=1),
    "progressive, restart": jpeg(progressive=True, restart_marker_blocks=2),
    "EXIF, profile, comment": jpeg(exif=exif(6), icc_profile=SRGB, comment="by hand"),
    "one pixel": jpeg(photo(width=1, height=1)),
}


def strictly_decoded(data: bytes) -> npt.NDArray[np.uint8] | None:
    """Return the pixels of the first picture, blue first; None where anything is wrong with it."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "BGR", strict=True))
    except ValueError:
        return None


def markers(data: bytes) -> list[int]:
    """Return where the markers of a whole JPEG are, from SOI to the first EOI, byte by byte."""
    found, at = [0], 2
    while data[found[-1] + 1] != 0xD9:
        if data[at] == 0xFF and data[at + 1] not in (0x00, 0xFF):
            found.append(at)
            is_bare = 0xD0 <= data[at + 1] <= 0xD9
            at += 2 if is_bare else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        else:
            at += 1  # of a scan
    return found


def filled(data: bytes, counts: Sequence[int]) -> bytes:
    """Return a JPEG with so many fill bytes before each of its markers but the first."""
    places = markers(data)
    parts = [data[: places[1]]]
    for number, (place, end) in enumerate(zip(places[1:], [*places[2:], len(data)], strict=True)):
        parts += [b"\xff" * counts[number % len(counts)], data[place:end]]
    return b"".join(parts)


def restarts(data: bytes) -> list[list[int]]:
    """Return where the restart markers of a JPEG are, those of each scan that has any."""
    scans: list[list[int]] = []
    for place in markers(data):
        if 0xD0 <= data[place + 1] <= 0xD7:
            scans[-1].append(place)
        elif data[place + 1] == 0xDA:
            scans.append([])
    return [places for places in scans if places]
