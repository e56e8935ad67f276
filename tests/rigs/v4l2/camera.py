"""A USB webcam that is a program, with faults on command. Runs in the guest, as root.

    python -m tests.rigs.v4l2.camera SERIAL FRAMES

FRAMES is a folder with the JPEGs to send, `WIDTHxHEIGHT-NUMBER.jpg`. Commands come by stdin, one
word to a line, each answered by a line of JSON:

- `unplug`, `plug`
- `freeze`: no frame begins any more; `lose`: all come marked as damaged, so that the kernel drops
  each; `flow`: frames again
- `truncate`, `corrupt`: the frames from now on lack their end, or a piece is wrong; `whole`: not
- `mute`, `speak`: leave control requests unanswered
- `withhold`, `tell`: refuse to tell one control's value (brightness)
- `sent`: when each frame was begun, by number, in ns of the monotonic clock
"""

import contextlib
import json
import selectors
import struct
import sys
import time
from collections import deque
from pathlib import Path

from tests.rigs.v4l2 import usbip, uvc

_SETUP = struct.Struct("<BBHHH")
_FRAME_ID, _END, _ERROR, _HEADER_END = 0x01, 0x02, 0x40, 0x80
_HEADER_BYTES = 2
_REMEMBERED = 2000


class Webcam:
    """One device; `fault` is the name of the command that began what goes on now."""

    def __init__(self, serial: str, folder: Path) -> None:
        self._serial = serial
        self._jpegs: dict[tuple[int, int], list[bytes]] = {}
        for size in uvc.MJPG:
            files = sorted(folder.glob(f"{size[0]}x{size[1]}-*.jpg"))
            self._jpegs[size] = [file.read_bytes() for file in files]
        self._line: usbip.Connection | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._flow, self._damage, self._mute = "flow", "whole", False
        self._number = 0
        self._sent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._due = 0.0

    def run(self) -> None:
        """Serve until stdin ends."""
        while True:
            wait_s = max(0.0, self._due - time.monotonic()) if self._line else None
            for key, _ in self._selector.select(wait_s):
                if key.fd != sys.stdin.fileno():
                    self._serve()
                elif word := sys.stdin.readline().strip():
                    self._obey(word)
                else:
                    return
            if self._line and time.monotonic() >= self._due:
                self._begin_frame()

    def _obey(self, word: str) -> None:
        answer: object = "ok"
        match word:
            case "plug":
                self._plug()
            case "unplug":
                self._unplug()
            case "flow" | "freeze" | "lose":
                self._flow = word
            case "whole" | "truncate" | "corrupt":
                self._damage = word
            case "mute" | "speak":
                self._mute = word == "mute"
            case "withhold" | "tell":
                self._controls.withhold = word == "withhold"
            case "sent":
                answer = dict(self._sent)
            case _:
                answer = f"{word!r} is no command"
        print(json.dumps(answer), flush=True)

    def _plug(self) -> None:
        self._unplug()
        self._controls = uvc.Controls()
        self._open: dict[int, usbip.Submitted] = {}
        self._payloads: deque[bytes] = deque()
        self._line = usbip.Connection()
        self._selector.register(self._line, selectors.EVENT_READ)

    def _unplug(self) -> None:
        if self._line is not None:
            self._selector.unregister(self._line)
            self._line.close()
            self._line = None

    def _serve(self) -> None:
        if self._line is None:  # unplugged by a command of the same moment
            return
        transfer = self._line.next(self._open)
        if transfer is None:
            return
        if transfer.endpoint:
            self._send()
        elif not self._mute:
            self._control(transfer)

    def _control(self, transfer: usbip.Submitted) -> None:
        kind, request, value, index, length = _SETUP.unpack(transfer.setup)
        if kind & 0x60 == 0x20:  # of the class: UVC
            if kind & 0x80:
                data = self._controls.asked(request, value, index)
            else:
                known = self._controls.told(request, value, index, transfer.data)
                data = b"" if known else None
                self._payloads.clear()
        else:
            data = self._standard(kind, request, value)
        if data is None:
            self._answer(transfer, status=usbip.STALLED)
        else:
            self._answer(transfer, data[:length])

    def _standard(self, kind: int, request: int, value: int) -> bytes | None:
        match kind & 0x80, request, value >> 8:
            case 0x80, 6, 1:
                return uvc.device()
            case 0x80, 6, 2:
                return uvc.configuration()
            case 0x80, 6, 3:
                return uvc.string(value & 0xFF, self._serial)
            case 0x80, 0, _:  # status
                return b"\0\0"
            case 0, 1 | 3 | 9 | 11, _:  # clear and set feature, configuration, interface
                return b""
        return None

    def _answer(self, transfer: usbip.Submitted, data: bytes = b"", status: int = 0) -> None:
        assert self._line is not None
        del self._open[transfer.number]
        self._line.answer(transfer, data, status)

    def _begin_frame(self) -> None:
        interval_s = 1 / self._controls.rate
        self._due = max(self._due + interval_s, time.monotonic())
        streams = any(transfer.endpoint for transfer in self._open.values())
        if not streams or self._payloads or self._flow == "freeze":
            return  # the kernel does not fetch as fast: this frame is left out
        self._number += 1
        self._sent.append((self._number, time.monotonic_ns()))
        picture = self._picture()
        header = _HEADER_END | (_FRAME_ID & self._number)
        if self._flow == "lose":
            header |= _ERROR
        step = uvc.PAYLOAD_BYTES - _HEADER_BYTES
        for at in range(0, len(picture), step):
            last = _END if at + step >= len(picture) else 0
            start = bytes([_HEADER_BYTES, header | last])
            self._payloads.append(start + picture[at : at + step])
        self._send()

    def _picture(self) -> bytes:
        if not self._controls.is_mjpg:
            width, height = self._controls.size
            return bytes([self._number % 256, 128]) * (width * height)
        jpegs = self._jpegs[self._controls.size]
        jpeg = jpegs[self._number % len(jpegs)]
        if self._damage == "truncate":
            return jpeg[: len(jpeg) // 2]
        if self._damage == "corrupt":
            middle = len(jpeg) // 2
            return jpeg[:middle] + bytes(64) + jpeg[middle + 64 :]
        return jpeg

    def _send(self) -> None:
        waiting = [transfer for transfer in self._open.values() if transfer.endpoint]
        for transfer in waiting[: len(self._payloads)]:
            self._answer(transfer, self._payloads.popleft())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        Webcam(sys.argv[1], Path(sys.argv[2])).run()
