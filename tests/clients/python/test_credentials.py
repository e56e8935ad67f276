"""Tokens and encryption: what travels, and what must not."""

import subprocess
from pathlib import Path

import grpc
import pytest
from camapi.v1 import camera_service_pb2 as api
from camsvc_client import NEVER, AsyncCameraClient, ServiceUnreachable, Tls, Unimplemented

from tests.clients.python import fake
from tests.support.left_out import lacking


async def test_a_token_goes_with_every_call() -> None:
    seen: list[str | bytes | None] = []

    async def cameras(
        request: api.ListCamerasRequest, context: fake.Context
    ) -> api.ListCamerasResponse:
        seen.append(dict(context.invocation_metadata() or ()).get("authorization"))
        return api.ListCamerasResponse()

    tokens = iter(["first", "second"])
    async with (
        fake.served(ListCameras=cameras) as address,
        AsyncCameraClient(address, token=lambda: next(tokens)) as client,
        AsyncCameraClient(address, token="fixed") as other,
    ):
        await client.list_cameras()
        await client.list_cameras()
        await other.list_cameras()
    assert seen == ["Bearer first", "Bearer second", "Bearer fixed"]


ELSEWHERE = [
    "rig.example:50051",
    "192.0.2.7:50051",
    "localhost.rig.example:50051",
    "127.0.0.1.rig.example:50051",
    "127.rig.example:1",
    "[::2]:1",
]


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.7:1", "[::1]:1", "unix:/run/camsvc"])
def test_a_token_may_travel_within_this_machine(address: str) -> None:
    AsyncCameraClient(address, token="secret")


@pytest.mark.parametrize("address", ELSEWHERE)
def test_a_token_is_not_sent_unencrypted_to_another_machine(address: str) -> None:
    with pytest.raises(ValueError, match="could be read by others") as caught:
        AsyncCameraClient(address, token="secret")
    assert "secret" not in str(caught.value)
    AsyncCameraClient(address, token="secret", tls=Tls())


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="address is empty"):
        AsyncCameraClient("")
    with pytest.raises(ValueError, match="silence_s"):
        AsyncCameraClient(silence_s=0)
    with pytest.raises(ValueError, match="both, or neither"):
        AsyncCameraClient("rig.example:1", tls=Tls(certificate=Path("client.pem")))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Make a key and its certificate, for the name rig.example."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    name = "-subj /CN=rig.example -addext subjectAltName=DNS:rig.example"
    made_by = f"openssl req {kind} {name} -keyout {key} -out {cert}".split()
    try:
        subprocess.run(made_by, check=True, capture_output=True)
    except FileNotFoundError:
        lacking("there is no openssl to make a certificate with", "apt-get install openssl")
    return key, cert


async def test_an_encrypted_connection(certificate: tuple[Path, Path]) -> None:
    key, cert = certificate
    server = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    async with fake.served(server, ListCameras=fake.no_cameras) as address:
        trusting = Tls(ca=cert, server_name="rig.example")
        async with AsyncCameraClient(address, tls=trusting, token="t", retry=NEVER) as client:
            assert await client.list_cameras() == []
            with pytest.raises(Unimplemented):
                await client.get_camera("sim0")
        for wrong in (Tls(server_name="rig.example"), Tls(ca=cert), None):
            async with AsyncCameraClient(address, tls=wrong, retry=NEVER) as client:
                with pytest.raises(ServiceUnreachable):
                    await client.list_cameras(timeout=5)
