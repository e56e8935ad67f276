"""What a file is by its first bytes, and how it is named."""

import pytest

from camsvc.model import filetype
from tests.support import raw_files

JPEG, RAW = b"\xff\xd8\xff\xe0", raw_files.tiff()
UNKNOWN = "application/octet-stream"


@pytest.mark.parametrize(
    ("data", "said", "mime_type", "extension"),
    [
        (JPEG, "image/jpeg", "image/jpeg", "jpg"),
        (JPEG, "image/x-nikon-nef", "image/jpeg", "jpg"),
        (JPEG, "text/html", "image/jpeg", "jpg"),
        (JPEG, None, "image/jpeg", "jpg"),
        (RAW, "image/x-nikon-nef", "image/x-nikon-nef", "nef"),
        (RAW, "image/x-maker-exe", "image/x-maker-exe", "tif"),
        (RAW, "image/x-maker-../", "image/tiff", "tif"),
        (RAW, "image/x-canon-cr2", "image/tiff", "tif"),
        (raw_files.cr2(), "image/x-nikon-nef", "image/x-canon-cr2", "cr2"),
        (b"RIFF\x10\0\0\0WAVE", "audio/x-wav", "audio/x-wav", "wav"),
        (b"<html>", "text/html", "text/html", "bin"),
        (b"<html>", "image/jpeg", UNKNOWN, "bin"),
        (b"<html>", "image/x-nikon-nef", UNKNOWN, "bin"),
        (b"", "/etc/passwd", UNKNOWN, "bin"),
        (b"", 7, UNKNOWN, "bin"),
    ],
)
def test_nothing_is_taken_for_what_its_bytes_are_not(
    data: bytes, said: object, mime_type: str, extension: str
) -> None:
    found = filetype.mime_type(data, said)
    assert found == mime_type
    assert filetype.extension(found) == extension
    assert filetype.mime_type(data, found) == found, "what it is called is what it is"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "nothing"),
        (b"\0" * 900, "zeros alone"),
        (b"\n <!DOCTYPE HTML><html>login", "an HTML page"),
        (b"\xef\xbb\xbf<html>", "an HTML page"),
        (b'{"error": "busy"}', "text"),
        ("größer".encode() * 100, "text"),
        (b"\x7fELF\2\1", "a file of an unknown kind"),
        (b"\xff\xd8\xff\xe0", "a file of the kind JPEG"),
        (b"\0\0\0\x18ftypheic", "a file of the kind HEIF"),
        (b"RIFF\x10\0\0\0WEBP", "a file of the kind WebP"),
    ],
)
def test_what_is_none_is_named(data: bytes, words: str) -> None:
    assert filetype.in_words(data) == words
