"""Another program that streams from a device: python -m tests.rigs.v4l2.holder /dev/video0."""

import sys
import threading

from camsvc.drivers.v4l2.device import Device

if __name__ == "__main__":
    device = Device(sys.argv[1], threading.Event())
    device.configure("MJPG", None, None)
    device.start()
    print("holding", flush=True)
    sys.stdin.read()
