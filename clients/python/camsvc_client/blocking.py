"""The same client without asyncio: each method waits for the one of `AsyncCameraClient`.

`CameraClient` has no code of its own for a call. `waits` and `iterates` make a blocking method of
an asynchronous one, with the same parameters for people, type checkers and editors alike; a test
fails when one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from camsvc_client.aio import AsyncCameraClient
from camsvc_client.portal import Closed, Portal
from camsvc_client.streams import Stream

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Init = Callable[["CameraClient", AsyncCameraClient], None]
Made = Callable[Concatenate["CameraClient", P], None]


class BlockingStream(Iterator[T_co], Generic[T_co]):
    """Items as they come. Ends when closed; `with` closes it, and so does its last reference.

    Entering `with` waits until the service has begun to send. `close`, from any thread, ends the
    iteration of a thread that waits for an item.

    Example:
        with client.live_view("sim0") as view:
            for item in view:
                print(item)
                break
    """

    def __init__(self, portal: Portal, stream: Stream[T_co]) -> None:
        self._portal = portal
        self._stream = stream

    def __next__(self) -> T_co:
        async def next_item() -> tuple[T_co, ...]:
            # StopAsyncIteration does not pass through a future unharmed.
            async for item in self._stream:
                return (item,)
            return ()

        try:
            found = self._portal.run(next_item())
        except Closed:
            found = ()
        if not found:
            raise StopIteration
        return found[0]

    def __enter__(self) -> Self:
        self._portal.run(self._stream.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream and its call. May be called more than once."""
        with suppress(Closed):
            self._portal.run(self._stream.close())


def made_like(kind: Callable[P, AsyncCameraClient]) -> Callable[[Init], Made[P]]:
    """Give a constructor the parameters of the asynchronous client's."""

    def decorate(init: Init) -> Made[P]:
        @wraps(AsyncCameraClient.__init__)
        def initialise(self: CameraClient, /, *args: P.args, **kwargs: P.kwargs) -> None:
            init(self, kind(*args, **kwargs))

        return initialise

    return decorate


def waits(
    method: Callable[Concatenate[AsyncCameraClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[CameraClient, P], R]:
    """Make a method that waits for the one given."""

    @wraps(method)
    def blocking(self: CameraClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._portal.run(method(self._client, *args, **kwargs))

    return _documented(blocking)


def iterates(
    method: Callable[Concatenate[AsyncCameraClient, P], Stream[T]],
) -> Callable[Concatenate[CameraClient, P], BlockingStream[T]]:
    """Make a method that gives, item by item, what the one given does."""

    @wraps(method)
    def blocking(self: CameraClient, /, *args: P.args, **kwargs: P.kwargs) -> BlockingStream[T]:
        async def begin() -> Stream[T]:
            return method(self._client, *args, **kwargs)

        return BlockingStream(self._portal, self._portal.run(begin()))

    return _documented(blocking)


def _documented(method: Callable[P, R]) -> Callable[P, R]:
    method.__doc__ = (method.__doc__ or "").replace("await ", "").replace("async ", "")
    return method


class CameraClient:
    """A camera service, for programs without asyncio. Any thread may use it.

    Takes what `AsyncCameraClient` takes. Use as `with`, or `close` it.

    Example:
        with CameraClient("127.0.0.1:50051") as client:
            client.capture("sim0", timeout=30).save("still.jpg")
    """

    @made_like(AsyncCameraClient)
    def __init__(self, client: AsyncCameraClient) -> None:
        self._client = client
        self._portal = Portal()

    @property
    def address(self) -> str:
        """Where the service is, as it was given."""
        return self._client.address

    def close(self) -> None:
        """Close the connection; calls under way, in whatever thread, are cancelled."""
        with suppress(Closed):
            self._portal.run(self._client.close())
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    list_cameras = waits(AsyncCameraClient.list_cameras)
    get_camera = waits(AsyncCameraClient.get_camera)
    capture = waits(AsyncCameraClient.capture)
    capture_group = waits(AsyncCameraClient.capture_group)
    live_view = iterates(AsyncCameraClient.live_view)
    get_frame = waits(AsyncCameraClient.get_frame)
    capture_events = iterates(AsyncCameraClient.capture_events)
    list_captures = iterates(AsyncCameraClient.list_captures)
    get_capture = waits(AsyncCameraClient.get_capture)
    delete_capture = waits(AsyncCameraClient.delete_capture)
    download_image = waits(AsyncCameraClient.download_image)
    list_controls = waits(AsyncCameraClient.list_controls)
    set_controls = waits(AsyncCameraClient.set_controls)
    reset_camera = waits(AsyncCameraClient.reset_camera)
    discover_cameras = waits(AsyncCameraClient.discover_cameras)
