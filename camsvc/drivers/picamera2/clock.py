"""From the sensor's clock to the calendar."""

import time


def acquired_ns(sensor_ns: int, monotonic_ns: int, unix_ns: int) -> int:
    """Return when a frame was taken, in Unix time, from the clocks' readings of one moment.

    libcamera promises `sensor_ns` by the clock that counts since boot; drivers give it by the
    monotonic one, which stands still while the machine is suspended. The two are the same until
    then; later a time ahead of the monotonic clock must be by the other.
    """
    age_ns = monotonic_ns - sensor_ns
    if age_ns < 0:
        age_ns = max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - sensor_ns)
    return unix_ns - age_ns
