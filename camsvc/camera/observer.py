"""What a camera reports upwards: one observer class with named hooks, all of them optional."""

from camsvc.live.ports import CameraFrame
from camsvc.model.errors import CameraServiceError
from camsvc.model.lifecycle import State


class CameraObserver:
    """Override the hooks that you need. They are called on the event loop and must not block.

    Each camera calls every observer that it was given when it was made, in their order.
    """

    def on_state_changed(self, camera: str, state: State) -> None:
        """The camera is in another state."""

    def on_unavailable(self, error: CameraServiceError) -> None:
        """The camera does not come back soon: it has to be waited for, or needs an operator."""

    def on_live_frame(self, frame: CameraFrame) -> None:
        """The worker has read a live frame."""

    def on_live_failed(self, error: Exception) -> None:
        """The worker has stopped reading: the camera failed while no command was under way."""

    def on_progress(self, percent: int) -> None:
        """The driver call under way has come so far, from 0 to 100."""

    def on_rejected(self, error: CameraServiceError, request_id: str) -> None:
        """A capture was refused before it began."""

    def on_call_ended(self) -> None:
        """A call has ended, whatever its outcome."""

    def on_unwatched(self) -> None:
        """The last viewer has left."""


class CameraObservers(CameraObserver):
    """Passes each call on to a list of observers."""

    def __init__(self, *observers: CameraObserver) -> None:
        self._observers = list(observers)

    def add(self, observer: CameraObserver) -> None:
        """Add one behind those that are there."""
        self._observers.append(observer)

    def on_state_changed(self, camera: str, state: State) -> None:
        for observer in self._observers:
            observer.on_state_changed(camera, state)

    def on_unavailable(self, error: CameraServiceError) -> None:
        for observer in self._observers:
            observer.on_unavailable(error)

    def on_live_frame(self, frame: CameraFrame) -> None:
        for observer in self._observers:
            observer.on_live_frame(frame)

    def on_live_failed(self, error: Exception) -> None:
        for observer in self._observers:
            observer.on_live_failed(error)

    def on_progress(self, percent: int) -> None:
        for observer in self._observers:
            observer.on_progress(percent)

    def on_rejected(self, error: CameraServiceError, request_id: str) -> None:
        for observer in self._observers:
            observer.on_rejected(error, request_id)

    def on_call_ended(self) -> None:
        for observer in self._observers:
            observer.on_call_ended()

    def on_unwatched(self) -> None:
        for observer in self._observers:
            observer.on_unwatched()
