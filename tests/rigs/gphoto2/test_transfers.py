"""Pictures on their way from a camera: cut off, disturbed, slow. The shutter is pressed once."""

import re

import pytest
from camapi.v1 import camera_pb2 as pb

from tests.rigs.gphoto2.conftest import StartCamera
from tests.rigs.gphoto2.control import Cut, Fault, Value
from tests.rigs.gphoto2.rig import Rig
from tests.support.history import REFERENCE, download, refusal
from tests.support.service import CALL_S, Service
from tests.support.timing import timing

pytestmark = [pytest.mark.rig, pytest.mark.timed]

DSLR = "dslr"
NEF, JPEG_TYPE, NEF_TYPE = 4, "image/jpeg", "image/x-nikon-nef"
RAW = pb.ImageOptions(format=pb.ImageOptions.FORMAT_RAW)
NEF_KB = 64
BOTH = "NEF+Fine"


async def both_taken(service: Service, rig: Rig) -> None:
    """Take a picture; both its files come whole, of one press of the shutter."""
    before = rig.control.told("captures")
    capture = (await service.capture(DSLR, delivery=REFERENCE, timeout=CALL_S)).capture
    assert (capture.attempts, rig.control.told("captures") - before) == (1, 1)
    assert [part.mime_type for part in capture.parts] == [JPEG_TYPE, NEF_TYPE]
    jpeg, nef = [(await download(service, capture.capture_id, part=n)).data for n in range(2)]
    assert jpeg.endswith(rig.still()[20:])
    assert (len(nef), nef[:4]) == (NEF_KB << 10, b"II*\0")


async def test_a_disturbance_among_the_files_of_a_shot_costs_no_second_press(
    start_camera: StartCamera, rig: Rig
) -> None:
    """In the first file, at its end, and in the second."""
    service = await start_camera(image_format=BOTH, attempt_timeout_s=8.0, file_timeout_s=3.0)
    await both_taken(service, rig)
    for fault, seconds in (
        (Fault.IO_ERROR, 0.3),
        (Fault.IO_ERROR, 0.8),
        (Fault.BUSY, 0.3),
        (Fault.UNPLUGGED, 0.3),
        (Fault.WEDGED, 60),
    ):
        for after_kb in (20, NEF_KB, NEF_KB + 20):
            print(fault.name, seconds, after_kb)  # shown when it fails
            rig.control.strike(fault, after_kb, seconds)
            await both_taken(service, rig)


async def test_a_second_file_that_cannot_be_had_does_not_cost_the_first(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera(image_format=BOTH)
    await both_taken(service, rig)
    rig.control.strike(Fault.IO_ERROR, NEF_KB + 20, 60)
    capture = (await service.capture(DSLR, image=RAW, delivery=REFERENCE)).capture
    assert (capture.attempts, capture.image.mime_type) == (1, NEF_TYPE)
    assert not capture.parts
    assert rig.control.told("captures") == 2
    await service.wait_for_state(pb.Camera.STATE_RECOVERING, DSLR)
    rig.control.fault = Fault.NONE
    await service.wait_for_state(pb.Camera.STATE_READY, DSLR)
    await both_taken(service, rig)


async def test_a_file_that_is_not_whole_is_fetched_again(
    start_camera: StartCamera, rig: Rig
) -> None:
    service = await start_camera(image_format=BOTH)
    await both_taken(service, rig)
    for cut in Cut:
        for count in (1, 2):
            print(cut.name, count)  # shown when it fails
            rig.control.spoil(cut, count)
            await both_taken(service, rig)
            assert rig.control.told("cuts") == 0


async def test_one_that_never_comes_whole_is_no_picture(
    start_camera: StartCamera, rig: Rig
) -> None:
    rig.control.turn(Value.QUALITY, NEF)
    service = await start_camera(attempts=1)
    for number, (cut, says) in enumerate(
        (
            (Cut.EMPTY, "is empty"),
            (Cut.HALF, f"has {NEF_KB << 9} bytes of {NEF_KB << 10}"),
            (Cut.PAGE, "is not a picture"),
            (Cut.UNANNOUNCED, "is empty"),
        )
    ):
        rig.control.spoil(cut, 99)
        info = await refusal(service.capture(DSLR, image=RAW, delivery=REFERENCE))
        assert info.reason == "CAMERA_UNAVAILABLE"
        assert re.search(f"corrupt picture: the camera's file '.*NEF' {says}", info.message)
        assert rig.control.told("captures") == 2 * number + 1
        rig.control.spoil(cut, 0)
        await service.capture(DSLR, image=RAW, delivery=REFERENCE)


@pytest.mark.parametrize("partial", [0, 1], ids=["whole", "in parts"])
async def test_bytes_that_come_slowly_are_progress(
    start_camera: StartCamera, rig: Rig, partial: int
) -> None:
    """The transfer takes 2.2 times as long as an attempt may without any."""
    attempt_s, size_kb = 2.0, 8192
    rig.control.turn(Value.QUALITY, NEF)
    rig.control.ask(nef_kb=size_kb, partial=partial)
    service = await start_camera(attempt_timeout_s=attempt_s)
    await service.capture(DSLR, image=RAW, delivery=REFERENCE)
    rig.control.ask(kb_per_s=int(size_kb / 2.2 / attempt_s))
    with timing() as took:
        capture = (
            await service.capture(DSLR, image=RAW, delivery=REFERENCE, timeout=CALL_S)
        ).capture
    assert took.s > 2.2 * attempt_s
    assert (capture.attempts, rig.control.told("captures")) == (1, 2)
    assert capture.image.size_bytes == size_kb << 10


async def test_bytes_that_come_no_more_are_none(start_camera: StartCamera, rig: Rig) -> None:
    rig.control.turn(Value.QUALITY, NEF)
    rig.control.ask(nef_kb=4096, kb_per_s=4096)
    service = await start_camera(attempts=1)
    await service.capture(DSLR, image=RAW, delivery=REFERENCE)
    rig.control.strike(Fault.HANG, 2048, 60)
    with timing() as took:
        info = await refusal(service.capture(DSLR, image=RAW, delivery=REFERENCE, timeout=CALL_S))
    took.assert_within(0.5 + 2.0 + 1.0)
    assert "did not get beyond" in info.message
    assert "s, the camera's attempt_timeout_s" in info.message
