"""What a file is by its first bytes, whatever its name or its camera says, and how it is named.

The signatures are those by which LibRaw (`identify.cpp`), darktable and libmagic (`Magdir/images`)
know the files; those of PNG, TIFF and FITS are from their standards.
"""

import re
from typing import NamedTuple

JPEG, PNG, TIFF = "image/jpeg", "image/png", "image/tiff"
UNKNOWN = "application/octet-stream"

HEAD_BYTES = 256
"""As many of a file's first bytes say what it is."""


class FileType(NamedTuple):
    """A kind of picture file. `is_raw`: a RAW file, or what a RAW file may be."""

    name: str
    mime_type: str
    is_raw: bool = False


_SIGNATURES = (
    (0, b"\xff\xd8", FileType("JPEG", JPEG)),
    (0, b"\x89PNG\r\n\x1a\n", FileType("PNG", PNG)),
    (0, b"GIF8", FileType("GIF", "image/gif")),
    (8, b"WEBP", FileType("WebP", "image/webp")),
    (4, b"ftypcrx ", FileType("CR3", "image/x-canon-cr3", is_raw=True)),
    (4, b"ftyphe", FileType("HEIF", "image/heif")),
    (4, b"ftypmif1", FileType("HEIF", "image/heif")),
    (4, b"ftypavif", FileType("AVIF", "image/avif")),
    (8, b"CR\x02", FileType("CR2", "image/x-canon-cr2", is_raw=True)),
    (6, b"HEAPCCDR", FileType("CRW", "image/x-canon-crw", is_raw=True)),
    (0, b"FUJIFILMCCD-RAW", FileType("RAF", "image/x-fuji-raf", is_raw=True)),
    (0, b"IIU\0", FileType("RW2", "image/x-panasonic-rw2", is_raw=True)),
    (0, b"IIRO", FileType("ORF", "image/x-olympus-orf", is_raw=True)),
    (0, b"IIRS", FileType("ORF", "image/x-olympus-orf", is_raw=True)),
    (0, b"MMOR", FileType("ORF", "image/x-olympus-orf", is_raw=True)),
    (0, b"FOVb", FileType("X3F", "image/x-sigma-x3f", is_raw=True)),
    (0, b"\0MRM", FileType("MRW", "image/x-minolta-mrw", is_raw=True)),
    (0, b"SIMPLE  =", FileType("FITS", "image/fits", is_raw=True)),
    # NEF, NRW, ARW, DNG, PEF, SRW, 3FR, IIQ and others are TIFF, and look like it.
    (0, b"II*\0", FileType("TIFF", TIFF, is_raw=True)),
    (0, b"MM\0*", FileType("TIFF", TIFF, is_raw=True)),
    (0, b"II+\0", FileType("TIFF", TIFF, is_raw=True)),
    (0, b"MM\0+", FileType("TIFF", TIFF, is_raw=True)),
)

RAW_NAMES = "CR2, CR3, CRW, FITS, MRW, ORF, RAF, RW2, X3F, or of the TIFF kind (DNG, NEF, ARW, PEF)"

_MIME_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,64}")
_OF_TIFF_KIND = re.compile(r"image/x-[a-z]+-([a-z0-9]{2,4})")
"""A maker's RAW files, such as image/x-nikon-nef; their bytes say no more than TIFF."""

_KNOWN = {kind.mime_type for _, _, kind in _SIGNATURES}
_EXTENSIONS = {
    **{kind.mime_type: kind.name.lower() for _, _, kind in _SIGNATURES},
    **{JPEG: "jpg", TIFF: "tif"},
    **dict.fromkeys(("audio/wav", "audio/x-wav"), "wav"),
    **{"video/mp4": "mp4", "video/quicktime": "mov", "video/x-msvideo": "avi"},
}
"""Also of what a camera records beside its pictures."""
_RAW_EXTENSIONS = frozenset(
    [
        "3fr",
        "arw",
        "dcr",
        "dng",
        "erf",
        "fff",
        "iiq",
        "kdc",
        "mef",
        "mos",
        "nef",
        "nrw",
        "pef",
        "rwl",
        "sr2",
        "srf",
        "srw",
    ]
)


def of(data: bytes) -> FileType | None:
    """Return what a file is; None: no picture that is known here."""
    return next((kind for at, magic, kind in _SIGNATURES if data.startswith(magic, at)), None)


def mime_type(data: bytes, said: object) -> str:
    """Return what a file is; of the TIFF kind, and of unknown ones, who gives it knows better.

    Nothing is taken for a kind of the table that its bytes are not.
    """
    kind = of(data)
    named = said if isinstance(said, str) and _MIME_TYPE.fullmatch(said) else UNKNOWN
    if kind is None:
        return UNKNOWN if named in _KNOWN or _OF_TIFF_KIND.fullmatch(named) else named
    if kind.mime_type == TIFF and named not in _KNOWN and _OF_TIFF_KIND.fullmatch(named):
        return named
    return kind.mime_type


def extension(mime_type: str) -> str:
    """Return how the name of a file ends, without the dot: one of this table's, else "bin"."""
    if mime_type in _EXTENSIONS:
        return _EXTENSIONS[mime_type]
    if raw := _OF_TIFF_KIND.fullmatch(mime_type):
        return raw[1] if raw[1] in _RAW_EXTENSIONS else "tif"
    return "bin"


def in_words(data: bytes) -> str:
    """Return what a file is as a message has it."""
    kind = of(data)
    if kind is not None:
        return f"a file of the kind {kind.name}"
    head = data[:HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if not head.strip(b"\0"):
        return "zeros alone" if data else "nothing"
    # A character may be cut at the end of what is looked at.
    text = head.decode(errors="ignore")
    if len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text):
        return "text"
    return "a file of an unknown kind"
