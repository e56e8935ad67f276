"""URLs: read in one way only, or refused with how to write them."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camsvc.config.errors import SettingsError
from camsvc.config.settings import load
from camsvc.drivers.opencv.address import parse
from tests.support.canary import CANARY


def test_user_and_password_are_decoded() -> None:
    address = parse(
        f"rtsp://us%20er:p%40s%2Fs%23%25{CANARY}@cam.local:8554/live/1?channel=1&x=a%20b"
    )
    assert (address.user, address.password) == ("us er", f"p@s/s#%{CANARY}")
    assert (address.host, address.port) == ("cam.local", 8554)
    assert address.target == "/live/1?channel=1&x=a%20b"
    assert address.without_login == "rtsp://cam.local:8554/live/1?channel=1&x=a%20b"


@pytest.mark.parametrize(
    ("url", "without_login"),
    [
        ("http://cam", "http://cam/"),
        ("HTTP://Cam:80/x#part", "http://cam/x"),
        ("https://u@cam:8443?a", "https://cam:8443/?a"),
        ("rtsp://[fe80::1]:554/a@b", "rtsp://[fe80::1]/a@b"),
        ("http://cam/ä", "http://cam/%C3%A4"),
    ],
)
def test_what_is_asked_for(url: str, without_login: str) -> None:
    assert parse(url).without_login == without_login


SECRETS = [
    pytest.param(f"{CANARY}{text}", id=text)
    for text in ("p@ss", "a/b", "a#b", "a?b", "50%", "a:/b", "[x")
]


@pytest.mark.parametrize("password", SECRETS)
@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_password_that_is_not_encoded(scheme: str, password: str) -> None:
    """It is refused with how to write it, and is not in the message."""
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        parse(f"{scheme}://admin:{password}@192.0.2.1/stream")
    assert "%40" in str(caught.value)
    assert password not in str(caught.value).replace("%40, / as", "")


@pytest.mark.parametrize("password", SECRETS)
def test_the_settings_say_so_without_the_password(tmp_path: Path, password: str) -> None:
    path = tmp_path / "camsvc.toml"
    source = f"http://admin:{password}@192.0.2.1/stream"
    path.write_text(f'[[cameras]]\nid = "gate"\ndriver = "opencv"\nsource = "{source}"\n')
    with pytest.raises(SettingsError, match="camera 'gate', key 'source': .*%40") as caught:
        load(path)
    assert password not in str(caught.value).replace("%40, / as", "")


@pytest.mark.parametrize("url", ["http://", "http://cam:99999/", "http://cam/a b", "http://cam/\n"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        parse(url)


@pytest.mark.parametrize(
    ("location", "url", "user"),
    [
        ("/b", "http://cam/b", "u"),
        ("b?c", "http://cam/x/b?c", "u"),
        ("http://cam/b", "http://cam/b", "u"),
        ("https://cam/b", "https://cam/b", "u"),
        ("//cam/b", "http://cam/b", "u"),
        ("http://cam:81/b", "http://cam:81/b", None),
        ("http://other/b", "http://other/b", None),
        ("http://x:y@other/b", "http://other/b", None),
    ],
)
def test_a_redirect_keeps_the_login_on_the_same_server(
    location: str, url: str, user: str | None
) -> None:
    there = parse(f"http://u:{CANARY}@cam/x/a").redirected(location)
    assert (there.without_login, there.user) == (url, user)


def test_a_connection_leads_to_one_server_by_one_scheme() -> None:
    plain, secure = parse("http://cam/"), parse("https://cam/")
    assert plain.authority == secure.authority
    assert plain.server != secure.server


def test_no_password_goes_from_tls_to_none() -> None:
    assert parse(f"https://u:{CANARY}@cam/").redirected("http://cam/").user is None


@given(st.text(), st.text())
def test_whatever_is_written_is_an_address_or_refused(url: str, location: str) -> None:
    for text in (url, f"http://{url}", f"rtsp://a:{url}@b/c"):
        with contextlib.suppress(ValueError):
            address = parse(text)
            assert address.host
            address.target.encode("ascii")
            address.redirected(location).target.encode("ascii")
