"""Live frames are handed over whole, or not at all."""

import contextlib
import time

import numpy as np

from camsvc.drivers.base import Driver, DriverState
from camsvc.ipc import messages as m
from camsvc.ipc.shared_memory import LIVE_BYTES, LIVE_SLOTS, SharedBlock
from camsvc.model.values import DeviceInfo, Frame, LiveVariant, Shot
from camsvc.worker.live import LiveReader

BAD_FRAMES = 5
NOISE = np.random.default_rng(1).integers(0, 256, (2600, 2600, 3), np.uint8)
"""Of which a JPEG of the best quality is about half of what a live frame may have, or more."""


class Noisy(Driver):
    name = "noisy"

    def open(self) -> DeviceInfo:
        return DeviceInfo("noisy", [])

    def capture(self, shot: Shot) -> Frame:
        raise NotImplementedError

    def read(self) -> Frame:
        return Frame(time.time_ns(), pixels=NOISE)

    def close(self) -> None:
        pass


def test_a_frame_that_is_too_large_in_all_its_sizes_is_bad_and_its_slots_are_free_again() -> None:
    block, sent = SharedBlock.create(), list[m.LiveEvent]()
    with contextlib.closing(block):
        reader, driver = LiveReader(block, sent.append), Noisy({}, DriverState())
        reader.want([LiveVariant(1, quality_percent=100)], driver)
        reader.read(driver)
        [frame] = sent
        assert isinstance(frame, m.SharedFrame)
        assert LIVE_BYTES / 2 < frame.images[0].size_bytes <= LIVE_BYTES
        reader.want(
            [LiveVariant(1, quality_percent=100), LiveVariant(2, quality_percent=99)], driver
        )
        for _ in range(BAD_FRAMES):
            reader.read(driver)
        assert isinstance(sent[-1], m.Lost)
        assert f"allowed: {LIVE_BYTES}" in sent[-1].failure.message
        reader.want([LiveVariant(3, 16)], driver)
        for _ in LIVE_SLOTS[1:]:
            reader.read(driver)
        assert sum(isinstance(event, m.SharedFrame) for event in sent) == len(LIVE_SLOTS)
