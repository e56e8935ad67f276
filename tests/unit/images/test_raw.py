"""A RAW file is known by its first bytes, and whether it is whole by its own tables."""

import pytest

from camsvc.images import raw
from camsvc.model import filetype
from camsvc.model.errors import DriverError
from tests.support import raw_files

WHOLE = {
    "little": raw_files.tiff("<"),
    "big": raw_files.tiff(">"),
    "tiles": raw_files.tiff(tag=(324, 325)),
    "preview": raw_files.tiff(tag=(513, 514)),
    "CR2": raw_files.cr2(),
    "CR3": raw_files.cr3(),
    "RAF": raw_files.raf(),
}


def checked(data: bytes) -> str:
    kind = filetype.of(data)
    assert kind is not None
    assert kind.is_raw
    raw.check_whole(data, kind)
    return kind.name


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_whole_up_to_its_last_byte(name: str) -> None:
    data = WHOLE[name]
    assert checked(data) == checked(data + b"trailer") == (name if name.isupper() else "TIFF")
    for kept in (len(data) - 1, len(data) // 2):
        with pytest.raises(DriverError, match=f"{kept} bytes is cut off"):
            checked(data[:kept])


def test_tables_that_lead_in_a_circle_end() -> None:
    data = bytearray(WHOLE["little"])
    data[22:26] = (8).to_bytes(4, "little")  # the next table is the first
    assert checked(bytes(data)) == "TIFF"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"IIU\0\x18\0\0\0", "RW2"),
        (b"IIRO\x08\0\0\0", "ORF"),
        (b"FOVb\0\0\3\0", "X3F"),
        (b"\0MRM\0\0\0\0", "MRW"),
        (b"II\x1a\0\0\0HEAPCCDR", "CRW"),
        (b"SIMPLE  =                    T", "FITS"),
    ],
)
def test_other_kinds_are_known_by_their_first_bytes(data: bytes, name: str) -> None:
    assert checked(data) == name
