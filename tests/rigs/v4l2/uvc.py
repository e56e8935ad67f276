"""What a USB webcam tells of itself and can be asked: descriptors and controls of UVC 1.0.

It has MJPG in the sizes of `MJPG` and YUYV in one, a bulk endpoint, and a few controls.
"""

import struct
from dataclasses import dataclass, field

MJPG = ((320, 240), (640, 480), (1280, 720))
YUYV = ((160, 120),)
RATES = (30, 15, 10, 5)

ENDPOINT = 0x81
PAYLOAD_BYTES = 16384
"""The most that uvcvideo fetches in one bulk transfer: 32 packets of 512 bytes."""

_YUY2 = bytes.fromhex("5955593200001000800000aa00389b71")
_CAMERA, _PROCESSING, _OUTPUT = 1, 2, 3
_EXPOSURE_MODE, _EXPOSURE = (_CAMERA, 0x02), (_CAMERA, 0x04)
_AUTOMATIC = 8
_MAKER, _PRODUCT, _SERIAL = 1, 2, 3

_SET_CUR, _GET_CUR, _GET_MIN, _GET_MAX, _GET_RES = 0x01, 0x81, 0x82, 0x83, 0x84
_GET_LEN, _GET_INFO, _GET_DEF = 0x85, 0x86, 0x87
_READABLE_AND_SETTABLE = 3
_PROBE, _COMMIT = 1, 2
_PROBE_DATA = struct.Struct("<HBBI5HII")


def device() -> bytes:
    """Return the device descriptor."""
    ids = struct.pack("<HHH", 0x1D6B, 0x0102, 0x0100)
    strings = bytes([_MAKER, _PRODUCT, _SERIAL, 1])
    return _descriptor(1, struct.pack("<H4B", 0x200, 0xEF, 2, 1, 64) + ids + strings)


def string(index: int, serial: str) -> bytes | None:
    """Return a string descriptor, if there is one of this number."""
    texts = {_MAKER: "camsvc", _PRODUCT: "Rig Webcam", _SERIAL: serial}
    if index == 0:
        return _descriptor(3, struct.pack("<H", 0x0409))
    return _descriptor(3, texts[index].encode("utf-16-le")) if index in texts else None


def configuration() -> bytes:
    """Return the only configuration: a control interface and a streaming one."""
    units = (
        # A camera with exposure mode and time, focus and autofocus; then brightness and gain.
        _descriptor(0x24, struct.pack("<BBHBB3HB3s", 2, _CAMERA, 0x201, 0, 0, 0, 0, 0, 3,
                                      (1 << 1 | 1 << 3 | 1 << 5 | 1 << 17).to_bytes(3, "little")))
        + _descriptor(0x24, struct.pack("<BBBHBHB", 5, _PROCESSING, _CAMERA, 0, 2, 1 | 1 << 9, 0))
        + _descriptor(0x24, struct.pack("<BBHBBB", 3, _OUTPUT, 0x101, 0, _PROCESSING, 0))
    )  # fmt: skip
    header = struct.pack("<BHHIBB", 1, 0x100, 13 + len(units), 48_000_000, 1, 1)
    control = _interface(0, 0, 1) + _descriptor(0x24, header) + units
    formats = _descriptor(0x24, bytes([6, 1, len(MJPG), 1, 1, 0, 0, 0, 0])) + b"".join(
        _frame(7, number, size) for number, size in enumerate(MJPG, 1)
    )
    raw = struct.pack("<BBB16s6B", 4, 2, len(YUYV), _YUY2, 16, 1, 0, 0, 0, 0)
    formats += _descriptor(0x24, raw) + b"".join(
        _frame(5, number, size) for number, size in enumerate(YUYV, 1)
    )
    header = struct.pack("<BBHBBBBBBBBB", 1, 2, 15 + len(formats), ENDPOINT, 0, _OUTPUT,
                         0, 0, 0, 1, 0, 0)  # fmt: skip
    endpoint = _descriptor(5, struct.pack("<BBHB", ENDPOINT, 2, 512, 0))
    streaming = _interface(1, 1, 2) + _descriptor(0x24, header) + formats + endpoint
    association = _descriptor(11, bytes([0, 2, 0x0E, 3, 0, 0]))
    parts = association + control + streaming
    return _descriptor(2, struct.pack("<HBBBBB", 9 + len(parts), 2, 1, 0, 0x80, 250)) + parts


def _descriptor(kind: int, content: bytes) -> bytes:
    return bytes([2 + len(content), kind]) + content


def _interface(number: int, endpoints: int, subclass: int) -> bytes:
    return _descriptor(4, bytes([number, 0, endpoints, 0x0E, subclass, 0, 0]))


def _frame(kind: int, number: int, size: tuple[int, int]) -> bytes:
    intervals = [_interval(rate) for rate in RATES]
    numbers = [1_000_000, 500_000_000, _frame_bytes(size), intervals[0]]
    content = struct.pack("<BBBHH4IB", kind, number, 0, *size, *numbers, len(intervals))
    return _descriptor(0x24, content + struct.pack(f"<{len(intervals)}I", *intervals))


def _frame_bytes(size: tuple[int, int]) -> int:
    return size[0] * size[1] * 2


def _interval(rate: int) -> int:
    return 10_000_000 // rate


@dataclass(slots=True)
class _Number:
    """A control that is a number of `size` bytes."""

    size: int
    minimum: int
    maximum: int
    step: int
    default: int
    value: int = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.default

    def asked(self, request: int) -> bytes | None:
        known = {
            _GET_CUR: self.value,
            _GET_MIN: self.minimum,
            _GET_MAX: self.maximum,
            _GET_RES: self.step,
            _GET_DEF: self.default,
        }
        if request == _GET_INFO:
            return bytes([_READABLE_AND_SETTABLE])
        if request == _GET_LEN:
            return struct.pack("<H", self.size)
        number = known.get(request)
        return None if number is None else number.to_bytes(self.size, "little", signed=number < 0)


class Controls:
    """The state behind the control endpoint. `size`, `rate` and `is_mjpg` are what was chosen."""

    def __init__(self) -> None:
        # By unit and selector, as in the tables of the UVC specification.
        self._numbers = {
            _EXPOSURE_MODE: _Number(1, 0, 0, 1 | _AUTOMATIC, _AUTOMATIC),
            _EXPOSURE: _Number(4, 1, 10_000, 1, 157),
            (_CAMERA, 0x06): _Number(2, 0, 250, 5, 50),
            (_CAMERA, 0x08): _Number(1, 0, 1, 1, 1),
            (_PROCESSING, 0x02): _Number(2, -64, 64, 1, 0),
            (_PROCESSING, 0x04): _Number(2, 0, 100, 1, 10),
        }
        self.untold = (_PROCESSING, 0x02)
        """A control of which the present value is not told, while `withhold`."""
        self.withhold = False
        self._probe = self._nearest(1, 1, _interval(RATES[0]))
        self.is_mjpg, self.size, self.rate = True, MJPG[0], RATES[0]

    def asked(self, request: int, value: int, index: int) -> bytes | None:
        """Answer a class request that reads; None: it is not known."""
        unit, interface, selector = index >> 8, index & 0xFF, value >> 8
        if interface == 1 and selector in (_PROBE, _COMMIT):
            if request == _GET_INFO:
                return bytes([_READABLE_AND_SETTABLE])
            if request == _GET_LEN:
                return struct.pack("<H", _PROBE_DATA.size)
            return self._probe
        known = self._numbers.get((unit, selector))
        if self.withhold and (unit, selector) == self.untold and request == _GET_CUR:
            return None
        return known.asked(request) if known else None

    def told(self, request: int, value: int, index: int, data: bytes) -> bool:
        """Carry out a class request that sets; return whether it is known, and taken at present."""
        unit, interface, selector = index >> 8, index & 0xFF, value >> 8
        if request != _SET_CUR:
            return False
        if interface == 1 and selector in (_PROBE, _COMMIT):
            _, kind, number, interval, *_ = _PROBE_DATA.unpack(data.ljust(_PROBE_DATA.size, b"\0"))
            self._probe = self._nearest(kind, number, interval)
            return True
        known = self._numbers.get((unit, selector))
        if (unit, selector) == _EXPOSURE and self._numbers[_EXPOSURE_MODE].value == _AUTOMATIC:
            return False
        if known is not None:
            known.value = int.from_bytes(data, "little", signed=known.minimum < 0)
        return known is not None

    def _nearest(self, kind: int, number: int, interval: int) -> bytes:
        """Choose what there is, as devices do: format, size and rate."""
        self.is_mjpg = kind != 2
        sizes = MJPG if self.is_mjpg else YUYV
        number = min(max(number, 1), len(sizes))
        self.size = sizes[number - 1]
        self.rate = min(RATES, key=lambda rate: abs(_interval(rate) - interval))
        return _PROBE_DATA.pack(
            *(1, 1 if self.is_mjpg else 2, number, _interval(self.rate), 0, 0, 0, 0, 0),
            *(_frame_bytes(self.size), PAYLOAD_BYTES),
        )
