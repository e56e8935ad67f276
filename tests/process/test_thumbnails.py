"""Thumbnails are made in a process of their own: what a picture does there harms nobody else."""

import io
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from camsvc.model.errors import Unsupported, WorkerLost
from camsvc.model.options import Launch, Sandbox
from camsvc.model.registry import NO_CAMERA
from camsvc.system import landlock
from camsvc.worker_pool.thumbnailer import Thumbnailer, thumbnails_launch
from tests.support.waiting import until

MakeThumbnailer = Callable[..., Thumbnailer]

LAUNCH = Launch(NO_CAMERA)


@pytest.fixture
async def thumbnailer() -> AsyncIterator[MakeThumbnailer]:
    made: list[Thumbnailer] = []

    def make(launch: Launch = LAUNCH, **limits: float) -> Thumbnailer:
        made.append(Thumbnailer(launch, **limits))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def worker() -> psutil.Process:
    """Return the one child of this process: the worker."""
    (process,) = psutil.Process().children()
    return process


def picture(width_px: int = 640, height_px: int = 480, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width_px, height_px)).save(out, "PNG")
    return out.getvalue()


async def make(thumbnailer: Thumbnailer, data: bytes) -> tuple[int, int]:
    """Return the size of the thumbnail that is made of a picture."""

    async def read(offset: int, size_bytes: int) -> bytes:
        return data[offset : offset + size_bytes]

    made = await thumbnailer.make(read, len(data))
    return Image.open(io.BytesIO(made), formats=["JPEG"]).size


def doing(deed: Callable[[psutil.Process], object]) -> Callable[[int, int], Awaitable[bytes]]:
    """Return what reads a picture, and does something to the worker that waits for it."""

    async def read(offset: int, size_bytes: int) -> bytes:
        deed(worker())
        return picture()[offset : offset + size_bytes]

    return read


async def test_one_worker_makes_many_and_ends_when_it_is_not_used(
    thumbnailer: MakeThumbnailer,
) -> None:
    maker = thumbnailer(idle_s=0.5)
    noise = Image.frombytes("RGB", (2000, 1000), os.urandom(6_000_000))
    large = io.BytesIO()
    noise.save(large, "PNG", compress_level=0)  # more than is copied at a time
    assert await make(maker, large.getvalue()) == (320, 160)
    first = worker()
    assert await make(maker, picture()) == (320, 240)
    assert worker() == first

    async def ended() -> bool:
        return not first.is_running()

    await until(ended, "it has ended", within_s=30)
    assert await make(maker, picture()) == (320, 240)


@pytest.mark.parametrize(
    "deed", [psutil.Process.kill, psutil.Process.suspend], ids=["killed", "hung"]
)
async def test_a_picture_that_ends_its_worker_costs_its_own_thumbnail(
    thumbnailer: MakeThumbnailer, deed: Callable[[psutil.Process], object]
) -> None:
    maker = thumbnailer(making_s=1.0)
    assert await make(maker, picture()) == (320, 240)
    first = worker()
    with pytest.raises(Unsupported):
        await maker.make(doing(deed), len(picture()))
    assert await make(maker, picture()) == (320, 240)
    assert not first.is_running()


@pytest.mark.skipif(not landlock.version(), reason="what limits memory is Linux's")
async def test_a_picture_that_takes_too_much_memory_has_none(
    thumbnailer: MakeThumbnailer, tmp_path: Path
) -> None:
    """It has 100 KB as a file; decoded and turned, 200 MB."""
    bomb = picture(5000, 5000, "RGBA")
    for memory_bytes, made in ((1 << 30, (320, 320)), (150 << 20, None)):
        confined = Sandbox("auto", str(tmp_path), memory_bytes=memory_bytes)
        maker = thumbnailer(thumbnails_launch(confined))
        if made:
            assert await make(maker, bomb) == made
        else:
            with pytest.raises(Unsupported):
                await make(maker, bomb)
        assert await make(maker, picture()) == (320, 240)
        await maker.close()


async def test_what_is_no_picture_does_not_end_the_worker(thumbnailer: MakeThumbnailer) -> None:
    maker = thumbnailer()
    for data in (b"", b"no picture", picture()[:100]):
        with pytest.raises(Unsupported):
            await make(maker, data)
    first = worker()
    assert await make(maker, picture()) == (320, 240)
    assert worker() == first


async def test_where_no_worker_can_be_started_the_picture_is_not_blamed(
    thumbnailer: MakeThumbnailer,
) -> None:
    with pytest.raises(WorkerLost, match="could not be started"):
        await make(thumbnailer(Launch(NO_CAMERA, python="no-such-python")), picture())


async def test_the_worker_ends_with_its_owner_whatever_it_does(
    thumbnailer: MakeThumbnailer,
) -> None:
    maker = thumbnailer()
    await make(maker, picture())
    first = worker()
    first.send_signal(signal.SIGSTOP)
    await maker.close()
    assert not first.is_running()
