"""The device's side of USB/IP: how the guest's kernel talks to a USB device that is a program.

The kernel's `vhci_hcd` takes a connected socket and a speed, and there is a device on its bus.
See Documentation/usb/usbip_protocol.rst of the kernel, from CMD_SUBMIT on.
"""

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_HUB = Path("/sys/devices/platform/vhci_hcd.0")
_HIGH_SPEED = 3
_FREE = "004"
_DEVICE_ID = 0x10002
_HEADER = struct.Struct(">5I28s")
_SUBMIT = struct.Struct(">Iiiii8s")
_ANSWER = struct.Struct(">iiiii8x")
_CMD_SUBMIT, _CMD_UNLINK, _RET_SUBMIT, _RET_UNLINK = 1, 2, 3, 4
STALLED, _UNLINKED = -32, -104


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transfer that the kernel has asked for; `setup` and `data` are a control transfer's."""

    number: int
    endpoint: int
    length: int
    setup: bytes
    data: bytes


class Connection:
    """A device plugged into the guest's virtual hub, until `close`."""

    def __init__(self) -> None:
        self._socket, kernels = socket.socketpair()
        with kernels:
            os.write(
                fd := os.open(_HUB / "attach", os.O_WRONLY),
                f"{_free_port()} {kernels.fileno()} {_DEVICE_ID} {_HIGH_SPEED}".encode(),
            )
            os.close(fd)

    def fileno(self) -> int:
        """Return what to wait on for the next transfer."""
        return self._socket.fileno()

    def close(self) -> None:
        """Unplug the device, at any moment."""
        self._socket.close()

    def next(self, open_transfers: dict[int, Submitted]) -> Submitted | None:
        """Return the next transfer, noted in `open_transfers`; None: the kernel took one back."""
        command, number, _, is_input, endpoint, rest = _HEADER.unpack(self._exactly(48))
        if command == _CMD_UNLINK:
            known = open_transfers.pop(int.from_bytes(rest[:4], "big"), None)
            self._send(_RET_UNLINK, number, _UNLINKED if known else 0, 0, b"")
            return None
        assert command == _CMD_SUBMIT
        _, length, _, _, _, setup = _SUBMIT.unpack(rest)
        data = b"" if is_input else self._exactly(length)
        found = Submitted(number, endpoint, length, setup, data)
        open_transfers[number] = found
        return found

    def answer(self, transfer: Submitted, data: bytes = b"", status: int = 0) -> None:
        """End a transfer, with what is sent to the kernel in one to it."""
        length = len(data) or len(transfer.data)
        self._send(_RET_SUBMIT, transfer.number, status, length, data)

    def _send(self, command: int, number: int, status: int, length: int, data: bytes) -> None:
        header = struct.pack(">5I", command, number, 0, 0, 0)
        self._socket.sendall(header + _ANSWER.pack(status, length, 0, 0, 0) + data)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                raise ConnectionError("the kernel has closed the connection")
            data += part
        return data


def _free_port() -> str:
    for line in (_HUB / "status").read_text().splitlines()[1:]:
        kind, port, state, *_ = line.split()
        if kind == "hs" and state == _FREE:
            return str(int(port))
    raise RuntimeError("the virtual hub has no free port")
