"""What a camera shows of itself, as a message."""

from camapi.v1 import camera_pb2 as pb

from camsvc.api import convert
from camsvc.camera.view import CameraView, CaptureStatistics
from camsvc.live.statistics import LiveStatistics
from camsvc.model.health import Health
from camsvc.model.lifecycle import State
from camsvc.model.values import DeviceInfo


def view(device: DeviceInfo) -> CameraView:
    return CameraView(
        id="sim0",
        driver="simulated",
        state=State.READY,
        state_time_ns=1,
        fault=None,
        device=device,
        queued=0,
        active=None,
        worst_case_s=1.0,
        failures=0,
        health=Health.GOOD,
        worker_pid=7,
        captures=CaptureStatistics(),
        recoveries={},
        worker_starts=1,
        live=LiveStatistics(),
    )


def test_what_of_a_camera_cannot_be_shown_does_not_keep_the_rest_from_it() -> None:
    """No worker gets as far as this with such a device; a list is of all cameras."""
    shown = convert.camera(view(DeviceInfo("odd \udcff", ["HEIF"])))
    assert (shown.camera, shown.worker_pid, shown.model) == ("sim0", 7, "")
    assert shown.state == pb.Camera.STATE_READY
    assert "cannot be shown" in shown.fault.message
    assert convert.camera(view(DeviceInfo("good", ["JPEG"]))).model == "good"
