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
CTRL_DISABLED, CTRL_READ_ONLY, CTRL_WRITE_ONLY = 0x1, 0x4, 0x40
NEXT_CTRL = 0x80000000

_SMALL = ctypes.c_uint8


def _words(*names: str) -> tuple[tuple[str, type[c_uint32]], ...]:
    """Return fields of 32 bits each."""
    return tuple((name, c_uint32) for name in names)


class FormatDescription(Structure):
    """`struct v4l2_fmtdesc`."""

    _fields_ = (
        *_words("index", "type", "flags"),
        ("description", c_char * 32),
        *_words("pixelformat"),
        ("reserved", c_uint32 * 4),
    )


class FrameSize(Structure):
    """`struct v4l2_frmsizeenum`; of a stepwise one, `numbers` are least, most and step of each."""

    _fields_ = (
        *_words("index", "pixel_format", "type"),
        ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    )


class FrameInterval(Structure):
    """`struct v4l2_frmivalenum`; of a discrete one, `numbers` begin with the fraction."""

    _fields_ = (
        *_words("index", "pixel_format", "width", "height", "type"),
        ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    )


class PixelFormat(Structure):
    """`struct v4l2_pix_format`, as far as it is used."""

    _fields_ = _words("width", "height", "pixelformat", "field", "bytesperline", "sizeimage")


class _FormatUnion(Union):
    # The pointer is there for the alignment, which other members give it.
    _fields_ = (("pix", PixelFormat), ("pointer", ctypes.c_void_p), ("raw", _SMALL * 200))


class Format(Structure):
    """`struct v4l2_format`."""

    _anonymous_ = ("union",)
    _fields_ = (*_words("type"), ("union", _FormatUnion))


class StreamParameters(Structure):
    """`struct v4l2_streamparm` of a capture."""

    _fields_ = (
        *_words("type", "capability", "capturemode", "numerator", "denominator"),
        ("raw", _SMALL * 184),
    )


class RequestBuffers(Structure):
    """`struct v4l2_requestbuffers`."""

    _fields_ = _words("count", "type", "memory", "capabilities", "flags")


class _Location(Union):
    _fields_ = (("offset", c_uint32), ("pointer", c_ulong))


class Buffer(Structure):
    """`struct v4l2_buffer`."""

    _anonymous_ = ("location",)
    _fields_ = (
        *_words("index", "type", "bytesused", "flags", "field"),
        ("seconds", c_long),
        ("microseconds", c_long),
        ("timecode", c_uint32 * 4),
        *_words("sequence", "memory"),
        ("location", _Location),
        *_words("length"),
        ("reserved", c_uint32 * 2),
    )


class QueryControl(Structure):
    """`struct v4l2_query_ext_ctrl`."""

    _fields_ = (
        *_words("id", "type"),
        ("name", c_char * 32),
        ("minimum", c_int64),
        ("maximum", c_int64),
        ("step", c_uint64),
        ("default", c_int64),
        *_words("flags", "elem_size", "elems", "nr_of_dims"),
        ("dims", c_uint32 * 4),
        ("reserved", c_uint32 * 32),
    )


class QueryMenu(Structure):
    """`struct v4l2_querymenu`; the `name` of an integer menu's entry is a number of 64 bits."""

    _fields_ = (*_words("id", "index"), ("name", _SMALL * 32), *_words("reserved"))


class ControlValue(Structure):
    """`struct v4l2_control`."""

    _fields_ = (*_words("id"), ("value", c_int32))


def _request(number: int, argument: type[Structure | c_int32], direction: int = 3) -> int:
    """Return a request's number; `direction` 1 writes the argument only."""
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord("V") << 8 | number


ENUM_FMT = _request(2, FormatDescription)
G_FMT = _request(4, Format)
S_FMT = _request(5, Format)
REQBUFS = _request(8, RequestBuffers)
QUERYBUF = _request(9, Buffer)
QBUF = _request(15, Buffer)
DQBUF = _request(17, Buffer)
STREAMON = _request(18, c_int32, 1)
STREAMOFF = _request(19, c_int32, 1)
G_PARM = _request(21, StreamParameters)
S_PARM = _request(22, StreamParameters)
G_CTRL = _request(27, ControlValue)
S_CTRL = _request(28, ControlValue)
QUERYMENU = _request(37, QueryMenu)
ENUM_FRAMESIZES = _request(74, FrameSize)
ENUM_FRAMEINTERVALS = _request(75, FrameInterval)
QUERY_EXT_CTRL = _request(103, QueryControl)


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
