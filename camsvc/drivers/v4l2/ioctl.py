"""The part of Linux's V4L2 interface that reading a camera takes, as in <linux/videodev2.h>.

Structures have the sizes of the machine that this runs on: the kernel knows the requests of 32-bit
programs too. Only single-planar capture is here, which is what webcams and grabbers have.
"""

import ctypes
import errno
import fcntl
from ctypes import Structure, Union, c_char, c_int32, c_int64, c_long, c_uint32, c_uint64, c_ulong

CAPTURE, MMAP = 1, 1
DISCRETE = 1

FLAG_ERROR = 0x40
FLAG_MONOTONIC, FLAG_CLOCK_MASK = 0x2000, 0xE000
FLAG_START_OF_EXPOSURE = 0x10000

CTRL_INTEGER, CTRL_BOOLEAN, CTRL_MENU, CTRL_INTEGER_MENU = 1, 2, 3, 9
CTRL_DISABLED, CTRL_GRABBED, CTRL_READ_ONLY = 0x1, 0x2, 0x4
CTRL_INACTIVE, CTRL_WRITE_ONLY = 0x10, 0x40
NEXT_CTRL = 0x80000000

_SMALL = ctypes.c_uint8


class FormatDescription(Structure):
    """`struct v4l2_fmtdesc`."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("reserved", c_uint32 * 4),
    )


class FrameSize(Structure):
    """`struct v4l2_frmsizeenum`; of a stepwise one, `numbers` are least, most and step of each."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    )


class FrameInterval(Structure):
    """`struct v4l2_frmivalenum`; of a discrete one, `numbers` begin with the fraction."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    )


class PixelFormat(Structure):
    """`struct v4l2_pix_format`, as far as it is used."""

    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
    )


class _FormatUnion(Union):
    # The pointer is there for the alignment, which other members give it.
    _fields_ = (("pix", PixelFormat), ("pointer", ctypes.c_void_p), ("raw", _SMALL * 200))


class Format(Structure):
    """`struct v4l2_format`."""

    _anonymous_ = ("union",)
    _fields_ = (("type", c_uint32), ("union", _FormatUnion))


class StreamParameters(Structure):
    """`struct v4l2_streamparm` of a capture."""

    _fields_ = (
        ("type", c_uint32),
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("numerator", c_uint32),
        ("denominator", c_uint32),
        ("raw", _SMALL * 184),
    )


class RequestBuffers(Structure):
    """`struct v4l2_requestbuffers`."""

    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint32),
    )


class _Location(Union):
    _fields_ = (("offset", c_uint32), ("pointer", c_ulong))


class Buffer(Structure):
    """`struct v4l2_buffer`."""

    _anonymous_ = ("location",)
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("seconds", c_long),
        ("microseconds", c_long),
        ("timecode", c_uint32 * 4),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("location", _Location),
        ("length", c_uint32),
        ("reserved", c_uint32 * 2),
    )


class QueryControl(Structure):
    """`struct v4l2_query_ext_ctrl`."""

    _fields_ = (
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int64),
        ("maximum", c_int64),
        ("step", c_uint64),
        ("default", c_int64),
        ("flags", c_uint32),
        ("elem_size", c_uint32),
        ("elems", c_uint32),
        ("nr_of_dims", c_uint32),
        ("dims", c_uint32 * 4),
        ("reserved", c_uint32 * 32),
    )


class QueryMenu(Structure):
    """`struct v4l2_querymenu`; the `name` of an integer menu's entry is a number of 64 bits."""

    _fields_ = (
        ("id", c_uint32),
        ("index", c_uint32),
        ("name", _SMALL * 32),
        ("reserved", c_uint32),
    )


class ControlValue(Structure):
    """`struct v4l2_control`."""

    _fields_ = (("id", c_uint32), ("value", c_int32))


def _request(number: int, structure: type[Structure], direction: int) -> int:
    return direction << 30 | ctypes.sizeof(structure) << 16 | ord("V") << 8 | number


_WRITE, _BOTH = 1, 3

ENUM_FMT = _request(2, FormatDescription, _BOTH)
G_FMT = _request(4, Format, _BOTH)
S_FMT = _request(5, Format, _BOTH)
REQBUFS = _request(8, RequestBuffers, _BOTH)
QUERYBUF = _request(9, Buffer, _BOTH)
QBUF = _request(15, Buffer, _BOTH)
DQBUF = _request(17, Buffer, _BOTH)
STREAMON = _WRITE << 30 | 4 << 16 | ord("V") << 8 | 18
STREAMOFF = _WRITE << 30 | 4 << 16 | ord("V") << 8 | 19
G_PARM = _request(21, StreamParameters, _BOTH)
S_PARM = _request(22, StreamParameters, _BOTH)
G_CTRL = _request(27, ControlValue, _BOTH)
S_CTRL = _request(28, ControlValue, _BOTH)
QUERYMENU = _request(37, QueryMenu, _BOTH)
ENUM_FRAMESIZES = _request(74, FrameSize, _BOTH)
ENUM_FRAMEINTERVALS = _request(75, FrameInterval, _BOTH)
QUERY_EXT_CTRL = _request(103, QueryControl, _BOTH)


def ask(fd: int, request: int, argument: Structure | c_int32) -> bool:
    """Carry a request out; False where the device has no such thing, or no more of it.

    Raises:
        OSError: it failed otherwise.
    """
    try:
        fcntl.ioctl(fd, request, argument)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY, errno.ENODATA):
            return False
        raise
    return True


def fourcc(code: int) -> str:
    """Return a pixel format's name, such as MJPG."""
    return (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace")


def code_of(name: str) -> int:
    """Return the number of a pixel format's name."""
    return int.from_bytes(name.encode(), "little")
