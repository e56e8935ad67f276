"""How long a webcam takes for a frame, whatever it says."""

from camsvc.drivers.v4l2 import ioctl as api
from camsvc.drivers.v4l2.device import Pace

MS = 1_000_000


def frame(number: int, at_ms: int) -> api.Buffer:
    seconds, ms = divmod(at_ms, 1000)
    return api.Buffer(sequence=number, seconds=seconds, microseconds=ms * 1000)


def test_it_is_the_time_between_two_frames() -> None:
    pace = Pace()
    assert pace.of(frame(7, 990)) == 0, "nothing is known of the first one"
    assert pace.of(frame(8, 1123)) == 133 * MS


def test_frames_that_nobody_took_are_counted() -> None:
    pace = Pace()
    pace.of(frame(7, 1000))
    assert pace.of(frame(307, 11_000)) == 10_000 * MS // 300


def test_a_stream_that_begins_anew_says_nothing() -> None:
    pace = Pace()
    pace.of(frame(7, 1000))
    assert pace.of(frame(0, 5000)) == 0
    assert pace.of(frame(1, 5040)) == 40 * MS
