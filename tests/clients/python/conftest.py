"""What the client's tests share: services to start, and the client that talks to them."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from camsvc_client import AsyncCameraClient

from tests.clients.python import shared
from tests.clients.python.rig import Rig
from tests.support.scenes import camera

StartRig = Callable[[str], Awaitable[Rig]]


@pytest.fixture
async def start_rig(tmp_path: Path) -> AsyncIterator[StartRig]:
    """Give a function that starts a service which can be killed and started again."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(settings: str) -> Rig:
            return await stack.enter_async_context(Rig(tmp_path, settings))

        yield start


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve two quick cameras to those tests of a file that do not mind each other."""
    folder = tmp_path_factory.mktemp("shared")
    with shared.serving(folder, camera() + camera("sim1")) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncCameraClient]:
    """Give a client of that service."""
    async with AsyncCameraClient(address) as client:
        yield client
