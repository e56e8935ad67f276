"""What a worker sends without being asked."""

from camsvc.ipc import messages as m
from camsvc.model.values import DeviceInfo


class WorkerObserver:
    """Is called with it, on the event loop. Override what you need.

    Attached by `WorkerProcess.attach`. An exception is logged, and the worker is killed.
    """

    def on_live_frame(self, frame: m.SharedFrame) -> None:
        """Take a live frame: the slots of its images are the service's until `take_live`."""

    def on_live_lost(self, failure: m.Failed) -> None:
        """Note that the camera failed while no command was under way."""

    def on_device_changed(self, device: DeviceInfo) -> None:
        """Note that the open device is not what it was: its warnings, its exposure."""

    def on_progress(self, percent: int) -> None:
        """Note how far the still under way is, 0 to 100; only while a call is pending."""

    def on_ended(self) -> None:
        """Note that the process has ended, for whatever reason; nothing comes after it."""
