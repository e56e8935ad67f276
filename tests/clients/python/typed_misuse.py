"""Misuse that does not compile: mypy fails when one of these lines is no error to it.

Never run. `make check` reads it, and `test_types.py`. Each `ignore` names the error that must be
there; mypy reports one that is not needed.
"""

from typing import assert_type

from camapi.v1.camera_pb2 import Camera, Capture, CaptureEvent, Control
from camsvc_client import (
    AsyncCameraClient,
    BlockingStream,
    CameraBusy,
    CameraClient,
    EventStream,
    Frame,
    Group,
    Image,
    LiveStatus,
    Picture,
    Retry,
    Shot,
    Stream,
    Tls,
)


def blocking(client: CameraClient) -> None:
    assert_type(client.list_cameras(), list[Camera])
    assert_type(client.capture("sim0", timeout=30), Picture)
    assert_type(client.capture_group(["sim0", Shot(camera="sim1")]), Group)
    assert_type(client.live_view("sim0"), BlockingStream[Frame | LiveStatus])
    assert_type(client.capture_events(), BlockingStream[CaptureEvent])
    assert_type(next(client.list_captures()), Capture)
    assert_type(client.download_image("id"), Image)
    assert_type(client.list_controls("sim0"), list[Control])

    client.capture()  # type: ignore[call-arg]
    client.capture(7)  # type: ignore[arg-type]
    client.capture("sim0", 30)  # type: ignore[call-arg]
    client.capture("sim0", timeout="30")  # type: ignore[arg-type]
    client.capture("sim0", deadline=30)  # type: ignore[call-arg]
    client.capture("sim0", format="gif")  # type: ignore[arg-type]
    client.capture("sim0", when_busy="wait")  # type: ignore[arg-type]
    client.capture("sim0", labels={"row": 7})  # type: ignore[dict-item]
    client.capture("sim0", controls={"gain": None})  # type: ignore[dict-item]
    print(client.capture("sim0").dat)  # type: ignore[attr-defined]
    client.set_controls("sim0", [("gain", 2)])  # type: ignore[arg-type]
    client.list_captures(states=["done"])  # type: ignore[list-item]
    client.take("sim0")  # type: ignore[attr-defined]
    for item in client.live_view("sim0"):
        item.array()  # type: ignore[union-attr]
    CameraClient("127.0.0.1:50051", tls=True)  # type: ignore[arg-type]
    CameraClient(50051)  # type: ignore[arg-type]
    CameraClient(retries=Retry())  # type: ignore[call-arg]


async def asynchronous(client: AsyncCameraClient) -> None:
    assert_type(await client.capture("sim0"), Picture)
    assert_type(client.live_view("sim0"), Stream[Frame | LiveStatus])
    assert_type(client.capture_events(), EventStream)
    assert_type([c async for c in client.list_captures()], list[Capture])

    client.capture("sim0").save("still.jpg")  # type: ignore[attr-defined]
    client.capture("sim0")  # type: ignore[unused-coroutine]
    for _ in client.live_view("sim0"):  # type: ignore[attr-defined]
        pass
    await client.live_view("sim0")  # type: ignore[misc]
    await client.capture_group("sim0", timeout=1, labels={})  # type: ignore[call-arg]
    await client.get_frame("sim0", max_age=1)  # type: ignore[call-arg]
    Shot("sim0")  # type: ignore[call-arg]
    Tls(ca="ca.pem")  # type: ignore[arg-type]


def errors(error: CameraBusy) -> None:
    assert_type(error.holder.capture_id, str)
    assert_type(error.retry_after_s, float | None)
    print(error.holder.name)  # type: ignore[attr-defined]
    print(error.retry_after_s + 1)  # type: ignore[operator]
