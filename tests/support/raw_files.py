"""RAW files as small as they may be: heads and tables of the real kinds, nothing behind them."""

import struct


def tiff(
    order: str = "<", *, strip: bytes = b"x" * 100, tag: tuple[int, int] = (273, 279)
) -> bytes:
    """Return a TIFF, of which DNG, NEF and others are, with its picture in a table below another.

    `tag` are those of where it begins and of its length.
    """
    head = b"II*\0" if order == "<" else b"MM\0*"
    below, picture = 8 + 2 + 12 + 4, 8 + 2 + 12 + 4 + 2 + 24 + 4
    table = struct.pack(f"{order}IHHHIII", 8, 1, 330, 4, 1, below, 0)
    begin, length = tag
    entries = struct.pack(f"{order}HHII", begin, 4, 1, picture)
    entries += struct.pack(f"{order}HHII", length, 4, 1, len(strip))
    return head + table + struct.pack(f"{order}H", 2) + entries + b"\0" * 4 + strip


def cr2() -> bytes:
    """Return a CR2: a TIFF whose first table is behind its own head."""
    plain = tiff()
    return plain[:4] + struct.pack("<I", 16) + b"CR\x02\0" + b"\0" * 4 + _moved(plain[8:], by=8)


def cr3(payload: int = 300) -> bytes:
    """Return a CR3: boxes, the last of which has its length in 64 bits."""
    kind = struct.pack(">I4s4sI4s", 24, b"ftyp", b"crx ", 1, b"crx ") + b"isom"
    data = struct.pack(">I4sQ", 1, b"mdat", 16 + payload) + b"x" * payload
    return kind + struct.pack(">I4s", 16, b"moov") + b"\0" * 8 + data


def raf(payload: int = 300) -> bytes:
    """Return a RAF: a preview, a table and the picture, one behind the other."""
    at, length = 108, payload // 3
    places = [number for part in range(3) for number in (at + part * length, length)]
    head = b"FUJIFILMCCD-RAW 0201FF389501".ljust(84, b"\0")
    return head + struct.pack(">6I", *places) + b"x" * payload


def _moved(tables: bytes, by: int) -> bytes:
    """Return the tables of `tiff` with the two places in them moved."""
    moved = bytearray(tables)
    for at in (2 + 8, 2 + 12 + 4 + 2 + 8):
        (place,) = struct.unpack_from("<I", moved, at)
        struct.pack_into("<I", moved, at, place + by)
    return bytes(moved)
