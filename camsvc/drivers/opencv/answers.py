"""What a server's answer means: HTTP's statuses, which RTSP shares, as the errors of a driver."""

from email.message import Message
from email.utils import parsedate_to_datetime

from camsvc.drivers.opencv.memory import Memory
from camsvc.model.errors import DeviceAway, DriverFault

_SOURCE = "the settings' `source`"
_BUSY = {429: "too many requests", 453: "not enough bandwidth", 503: "it is busy"}
_PASSING = {408: "it timed out", 425: "too early", 454: "its session is over"}


def refusal(  # noqa: PLR0911 - a table of statuses, one return each
    status: int, headers: Message, memory: Memory
) -> Exception:
    """Return the error of an answer that is not a success; 401 is `login_refused`'s."""
    if status == 403:
        return DriverFault(
            f"the camera forbids this user the picture (403): give the user of {_SOURCE} the right "
            "to watch, in the camera's own settings, then reset the camera here"
        )
    if status in _BUSY:
        why = f"the camera asks to be left alone for a while ({status}, {_BUSY[status]})"
        return memory.leave_alone(_pause_s(headers), why)
    if status in (404, 410):
        return memory.refusal(
            f"the camera has nothing at the path of {_SOURCE} ({status}): correct the path; the "
            "camera's manual has it"
        )
    if status in _PASSING:
        return DeviceAway(f"the camera did not give a picture ({status}, {_PASSING[status]})")
    if 400 <= status < 500:
        return memory.refusal(
            f"the camera refuses the request ({status}): check the path and the query of {_SOURCE}"
        )
    if status >= 500:
        return DeviceAway(f"the camera reports an error of its own ({status})")
    return DeviceAway(f"the camera gave no picture ({status})")


def _pause_s(headers: Message) -> float:
    """Return how long the server wants to be left alone: seconds, or until a time of its clock."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        until, now = (parsedate_to_datetime(text) for text in (asked, headers.get("Date", "")))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def login_refused(has_user: bool, was_redirected: bool) -> DriverFault:
    """Return the error of an answer that asks for a login once more."""
    if was_redirected:
        return DriverFault(
            "the camera redirects to another server, which asks for a login; user and password are "
            f"not sent there: write that server's address into {_SOURCE}"
        )
    if not has_user:
        return DriverFault(
            f"the camera asks for a user and a password (401): write them into {_SOURCE}, as in "
            "http://user:password@host/path"
        )
    return DriverFault(
        f"the camera refuses the user or the password of {_SOURCE} (401): correct them. They are "
        "not tried again, as cameras lock accounts; after a change in the camera itself, reset the "
        "camera here"
    )
