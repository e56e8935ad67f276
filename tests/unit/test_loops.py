"""What a test leaves open is closed when that test ends."""

import asyncio
import gc
import warnings

from tests.support.loops import close_those_left, new_virtual_loop


def test_a_loop_that_is_left_open_is_closed_with_its_tasks_and_its_sockets() -> None:
    loop = new_virtual_loop()
    task = loop.create_task(asyncio.sleep(1000))
    loop.run_until_complete(asyncio.sleep(1))
    new_virtual_loop().close()
    assert close_those_left() == 1
    assert loop.is_closed()
    assert task.cancelled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del loop, task
        gc.collect()
    assert close_those_left() == 0
