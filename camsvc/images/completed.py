"""What a whole JPEG may leave out, and viewers need: its Huffman tables, its height.

Motion JPEG, which webcams deliver, has no Huffman tables where they are those that the standard
proposes (ITU-T T.81, K.3). OpenCV and most programs know that; Safari, Go and Rust do not. A height
of 0, given behind the first scan instead (DNL), nearly no program reads.
"""

import struct

from camsvc.images import jpeg, segments
from camsvc.images.jpeg import Jpeg

_DC = bytes(range(12))
_AC = """
    01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a2526
    2728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485
    868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6
    d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa
"""
_AC_CHROMA = """
    000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f1171819
    1a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a8283
    8485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4
    d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa
"""
# Of each table its class and number, how many codes there are of each length, and what they are.
_TABLES = (
    (b"\x00", "00010501010101010100000000000000", _DC),
    (b"\x10", "0002010303020403050504040000017d", bytes.fromhex(_AC)),
    (b"\x01", "00030101010101010101010000000000", _DC),
    (b"\x11", "00020102040403040705040400010277", bytes.fromhex(_AC_CHROMA)),
)
_BODY = b"".join(number + bytes.fromhex(counts) + codes for number, counts, codes in _TABLES)
STANDARD_TABLES = struct.pack(">HH", segments.DHT, len(_BODY) + 2) + _BODY
"""A segment with all four."""


def read(data: bytes) -> tuple[bytes, Jpeg]:
    """Return a JPEG with what it leaves out, and what it is; one that lacks nothing as it is.

    Raises:
        DriverError: it is not a JPEG, or not a whole one.
    """
    found = jpeg.read(data)
    scan, lines = found.header[-1].begin, found.frame.begin + 5
    if found.process == "baseline" and all(part.marker != segments.DHT for part in found.header):
        data = data[:scan] + STANDARD_TABLES + data[scan:]
    if data[lines : lines + 2] == b"\0\0":
        data = data[:lines] + found.height_px.to_bytes(2, "big") + data[lines + 2 :]
    return data, found
