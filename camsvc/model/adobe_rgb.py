"""The colours of a camera that is set to Adobe RGB, as an ICC profile (ICC.1:2001-04).

Such cameras put no profile into their pictures, but a sign into the EXIF (DCF 2.0, "R03"). The
figures are those of "Adobe RGB (1998) Color Image Encoding": its primaries, adapted to D50, and its
gamma.
"""

import struct

OTHERS_TABLE, SIGN = 0xA005, "R03"
"""In the EXIF, the tag of the table that has it (under tag 1), and the sign."""

_NAME = b"Compatible with Adobe RGB (1998)\0"
_WHITE = (0.9505, 1.0, 1.0891)
_RED = (0.60974, 0.31111, 0.01947)
_GREEN = (0.20528, 0.62567, 0.06087)
_BLUE = (0.14919, 0.06322, 0.74457)
_D50 = (0.9642, 1.0, 0.8249)
_GAMMA = 563  # 256ths


def _xyz(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile() -> bytes:
    curve = struct.pack(">4s4xIH2x", b"curv", 1, _GAMMA)
    bodies = {
        b"desc": struct.pack(">4s4xI", b"desc", len(_NAME)) + _NAME + bytes(78 + 1),
        b"cprt": b"text\0\0\0\0" + b"Public domain\0\0\0",
        **{
            name: b"XYZ \0\0\0\0" + _xyz(values)
            for name, values in [
                (b"wtpt", _WHITE),
                (b"rXYZ", _RED),
                (b"gXYZ", _GREEN),
                (b"bXYZ", _BLUE),
            ]
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, data = struct.pack(">I", len(bodies)), b""
    for name, body in bodies.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(bodies) + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = 128 + len(table) + len(data)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return (head + bytes(28) + _xyz(_D50)).ljust(128, b"\0") + table + data


PROFILE = _profile()
