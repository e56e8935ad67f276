"""Digest by the examples of RFC 7616, section 3.9.1."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camsvc.drivers.opencv.login import Login

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
CHALLENGE = f'Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="{NONCE}"'


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_the_standard(
    algorithm: str, response: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: CNONCE)
    login = Login("Mufasa", "Circle of Life")
    assert login.accepts([f"{CHALLENGE}, algorithm={algorithm}"])
    assert f'response="{response}"' in (login.header("GET", "/dir/index.html") or "")


def test_the_strongest_is_taken() -> None:
    login = Login("u", "p")
    assert login.accepts(["Basic realm=x", CHALLENGE, f"{CHALLENGE}, algorithm=SHA-256"])
    assert "algorithm=SHA-256" in (login.header("GET", "/") or "")


@pytest.mark.parametrize("challenge", ["", "Bearer", "Negotiate abc==", 'Digest realm="x"'])
def test_what_cannot_be_answered(challenge: str) -> None:
    assert not Login("u", "p").accepts([challenge])


def test_a_refused_answer_is_not_repeated() -> None:
    login = Login("u", "p")
    assert login.header("GET", "/") is None
    assert login.accepts([CHALLENGE])
    login.header("GET", "/")
    assert not login.accepts([CHALLENGE.replace(NONCE, "another")])


def test_a_stale_nonce_is_answered_again() -> None:
    login = Login("u", "p")
    assert login.accepts([CHALLENGE])
    login.header("GET", "/")
    assert login.accepts([f"{CHALLENGE}, stale=TRUE"])


WORDS = [
    "Digest ",
    "\r\n ",
    "Basic ",
    "realm=",
    '"',
    "=",
    ",",
    "nonce=",
    'nonce="a"',
    "qop=auth",
    "\\",
    "é",
]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5)), st.text(), st.text())
def test_whatever_a_server_asks_is_answered_or_not(
    words: list[str], user: str, password: str
) -> None:
    login = Login(user, password)
    if login.accepts(["".join(words)]):
        header = login.header("GET", "/")
        assert header
        assert len(header.splitlines()) == 1
