"""What an RTSP server says of a source, before OpenCV opens it.

OpenCV only says that a stream did not open. One DESCRIBE shows which cause it is; and a password
that it refuses never gets to FFmpeg, so that it is tried once and no more.
"""

import http.client
import io
from collections.abc import Mapping
from email.message import Message
from typing import Any

from camsvc.drivers.opencv import address as addresses
from camsvc.drivers.opencv import answers
from camsvc.drivers.opencv.connection import Connection
from camsvc.drivers.opencv.login import MOST_REQUESTS, Login
from camsvc.drivers.opencv.memory import Memory
from camsvc.model.errors import DeviceAway

_UNSURE = (400, 405, 406, 415, 451, 501, 505, 551)
"""The server may not know DESCRIBE as it was asked: OpenCV may do better."""


def look(settings: Mapping[str, Any], memory: Memory) -> None:
    """Ask for the description of a source.

    Raises:
        DeviceAway: nobody answers, or says that it is a passing matter.
        DriverFault: it needs a person.
    """
    memory.check()
    address = addresses.parse(settings["source"])
    url, timeout_s = address.without_login, float(settings["read_timeout_s"])
    login = None if address.user is None else Login(address.user, address.password)
    connection = Connection(address, timeout_s=timeout_s, fingerprint=settings["tls_fingerprint"])
    try:
        incoming = connection.makefile("rb")
        for number in range(1, MOST_REQUESTS + 1):
            authorization = None if login is None else login.header("DESCRIBE", url)
            connection.allow(timeout_s)
            connection.send(_request(url, number, authorization))
            status, headers = _answer(incoming)
            challenges = headers.get_all("WWW-Authenticate", [])
            if status != 401 or login is None or not login.accepts(challenges):
                break
    except TimeoutError as error:
        raise DeviceAway(
            f"the camera takes the connection, and does not answer within {timeout_s:g} s, its "
            "read_timeout_s"
        ) from error
    except (OSError, EOFError) as error:
        raise DeviceAway("the camera closed the connection without an answer") from error
    except ValueError as error:
        raise DeviceAway(
            "what answers at the address of the settings' `source` is not RTSP"
        ) from error
    finally:
        connection.close()
    if status == 401:
        raise answers.login_refused(login is not None, was_redirected=False)
    if status == 404:  # also said of a path to which nobody sends yet
        raise DeviceAway(
            "the server has nothing at the path of the settings' `source` (404): correct the path, "
            "or let its stream begin"
        )
    if status >= 400 and status not in _UNSURE:
        raise answers.refusal(status, headers, memory)


def _request(url: str, number: int, authorization: str | None) -> bytes:
    lines = [f"DESCRIBE {url} RTSP/1.0", f"CSeq: {number}", "Accept: application/sdp"]
    lines += ["User-Agent: camsvc"]
    lines += [f"Authorization: {authorization}"] if authorization else []
    return "\r\n".join([*lines, "", ""]).encode()


def _answer(incoming: io.BufferedReader) -> tuple[int, Message]:
    line = incoming.readline(1024)
    if not line:
        raise EOFError
    protocol, _, rest = line.decode("latin-1").partition(" ")
    if not protocol.startswith("RTSP/"):
        raise ValueError(protocol)
    headers = http.client.parse_headers(incoming)
    incoming.read(min(int(headers.get("Content-Length", 0)), 1 << 20))
    return int(rest[:3]), headers
