"""Secrets are found in texts in every form, and nothing else is taken out."""

import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest

from camsvc.model import redaction
from camsvc.model.redaction import masked, redacted, secrets_in
from tests.support.canary import CANARY, holds

PASSWORD = f"p@ss w%rd:#?\"'\\ж{CANARY}"
URL = f"rtsp://us%20er:{quote(PASSWORD, safe='')}@cam.local/live?channel=1&token={CANARY}t"
HOSTILE = ["a://", "://", "aaaa", "?pass", "passpass", ";", "a:", "%", "@", "\\", "?token=x@"]
MOST_S = 0.2
"""For twice 64 KiB; each was seen to take 30 ms at most."""


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide what a camera's settings have, for this test."""
    monkeypatch.setattr(redaction, "_known", set())
    redaction.hide(
        secrets_in(
            {
                "source": URL,
                "options": {"api_key": f"k{CANARY}"},
                "pwd": "1234",
                "url": "rtmp://u:a/b:cdef@h/",
            }
        )
    )
    yield
    redaction.hide(())


@pytest.mark.parametrize("form", [str, repr, json.dumps, ascii, quote, quote_plus])
def test_a_secret_is_found_in_every_form(form: Callable[[str], str]) -> None:
    for text in (form(PASSWORD), f"x={form(PASSWORD)}&y", form(URL), f"k{CANARY}"):
        assert not holds(redacted(text))
        assert "***" in redacted(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open http://a:b@h/x, then http://c@h", "open http://***@h/x, then http://***@h"),
        ("GET /s?user=a&pwd=b&n=1", "GET /s?user=a&pwd=***&n=1"),
        ("'rtsp://h/?access_key=a#b'", "'rtsp://h/?access_key=***#b'"),
        ("pin 1234, capture 81234f", "pin ***, capture 81234f"),
        ("at rtmp://u:a/b:cdef@h/", "at rtmp://u:***@h/"),
        ("rtsp://h:554/live?channel=1", "rtsp://h:554/live?channel=1"),
        ("a compass, an author@h, passive", "a compass, an author@h, passive"),
        ("mail me@h, see http://h/", "mail me@h, see http://h/"),
    ],
)
def test_what_is_taken_out_and_what_stays(text: str, expected: str) -> None:
    # A parameter is looked for in addresses alone, as in "http://h" here.
    assert redacted(f"{text} http://h") == f"{expected} http://h"


def test_a_wrong_value_is_repeated_without_what_is_secret_in_it() -> None:
    value = {"a": ["http://u:a b@h", 1], "password": 7, "bypass": "on", "x": {"token": ["y"]}}
    assert masked(value) == {
        "a": ["http://***@h", 1],
        "password": "***",
        "bypass": "on",
        "x": {"token": ["***"]},
    }


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (65_536 // len(piece))
    began = time.thread_time()
    redacted(f"http://{text}")
    redacted(f"{text}://")
    took_s = time.thread_time() - began
    print(f"{took_s:.3f} s")
    assert took_s < MOST_S
