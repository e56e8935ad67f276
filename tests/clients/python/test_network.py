"""What lies between a client and the service: a proxy, a name, a line that has died."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import grpc
import pytest
from camapi.v1 import camera_service_pb2 as api
from camapi.v1.camera_service_pb2_grpc import CameraServiceStub
from camsvc_client import (
    AsyncCameraClient,
    CaptureNotFound,
    DeadlineExceeded,
    ServiceUnreachable,
    channel_options,
)

from tests.clients.python import fake
from tests.clients.python.command import Camctl
from tests.support.proxy import Proxy
from tests.support.timing import timing

MOVED_S = 2.0


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[bytes]]:
    """Name a proxy for the web in the environment; give the first lines that it was sent."""
    lines: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 no\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    yield lines
    server.close()
    await server.wait_closed()


async def test_a_proxy_for_the_web_is_not_asked(
    address: str, asked: list[bytes], tmp_path: Path
) -> None:
    async with AsyncCameraClient(address) as client:
        assert len(await client.list_cameras()) == 2
    async with grpc.aio.insecure_channel(address, options=channel_options()) as channel:
        stub = CameraServiceStub(channel)
        assert (await stub.ListCameras(api.ListCamerasRequest(), timeout=60)).cameras
    assert (await Camctl(tmp_path, address)("list")).code == 0
    assert not asked


async def test_a_proxy_is_asked_where_one_is_wanted(
    address: str, asked: list[bytes], tmp_path: Path
) -> None:
    async with AsyncCameraClient(address, http_proxy=True) as client:
        with pytest.raises(ServiceUnreachable):
            await client.list_cameras(timeout=1)
    assert asked[0].startswith(f"CONNECT {address} ".encode())
    asked.clear()
    assert (await Camctl(tmp_path, address)("--http-proxy", "list")).code == 10
    assert asked


class Names(asyncio.DatagramProtocol):
    """A name server that knows one address, for whatever name."""

    def __init__(self, ip: str) -> None:
        self.ip = ip

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = data[12 : data.index(0, 12) + 5]
        is_ipv4 = question[-4:] == b"\0\1\0\1"
        answer = struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + bytes(map(int, self.ip.split(".")))
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, is_ipv4, 0, 0)
        self._transport.sendto(head + question + (answer if is_ipv4 else b""), addr)


@pytest.mark.timed
async def test_a_service_that_moves_under_its_name_is_found() -> None:
    """As a container that is started anew: the name is the same, the address is another."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(
        lambda: Names("127.0.0.1"), local_addr=("127.0.0.1", 0)
    )
    name_server = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    async with fake.served(ListCameras=fake.no_cameras) as first:
        port = first.rpartition(":")[2]
        client = AsyncCameraClient(f"dns://{name_server}/cameras.test:{port}")
        await client.list_cameras(timeout=60)
    names.ip = "127.0.0.2"
    async with client, fake.served(at=f"127.0.0.2:{port}", ListCameras=fake.no_cameras):
        with timing() as found:
            await client.list_cameras(timeout=60)
    found.assert_within(MOVED_S)
    transport.close()


@pytest.mark.timed
async def test_a_dead_line_is_noticed_though_no_call_waits_so_long(address: str) -> None:
    """Calls that end before the silence is over do not keep the dead connection alive."""
    async with Proxy(address) as line, AsyncCameraClient(line.address, silence_s=1.0) as client:
        await client.list_cameras()
        line.forget()
        with timing() as found:
            while True:
                with suppress(DeadlineExceeded, ServiceUnreachable):
                    await client.list_cameras(timeout=0.2)
                    break
        found.assert_within(2.0)
        line.forget()
        with pytest.raises(DeadlineExceeded):
            await client.download_image("none", timeout=0.3)
        with timing() as found, pytest.raises(CaptureNotFound):
            while True:
                with suppress(DeadlineExceeded, ServiceUnreachable):
                    await client.download_image("none", timeout=0.2)
        found.assert_within(2.0)
