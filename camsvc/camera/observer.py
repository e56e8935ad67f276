"""What a camera reports upwards: one observer class with named hooks, all of them optional."""

from camsvc.live.ports import CameraFrame
from camsvc.model.errors import CameraServiceError
from camsvc.model.health import Health
from camsvc.model.lifecycle import State


class CameraObserver:
    """Override the hooks that you need. They are called on the event loop and must not block.

    Each camera calls every observer that it was given when it was made, in their order.
    """

    def on_state_changed(self, camera: str, state: State) -> None:
        """The camera is in another state."""

    def on_health_changed(self, camera: str, health: Health) -> None:
        """The camera fails more often in a row than before, or works again."""

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

    def on_use_ended(self) -> None:
        """A call has ended, whatever its outcome, or the last viewer has left."""
