"""A camera's life: one enum of states, one of events, one table, one `apply`.

The diagram in the docs is made from `TRANSITIONS` (`make diagram`); a test compares them.
"""

from enum import Enum


class State(Enum):
    """A camera's states."""

    CLOSED = "CLOSED"
    """No device open; the next use opens it."""
    OPENING = "OPENING"
    READY = "READY"
    CAPTURING = "CAPTURING"
    AWAY = "AWAY"
    """The device is not there, or another program has it; it is looked for once a second."""
    RECOVERING = "RECOVERING"
    """Something failed; one recovery step after the other is taken until the camera is back."""
    FAULTED = "FAULTED"
    """Only an operator helps; ResetCamera tries again."""


class Event(Enum):
    """What happens to a camera."""

    OPEN = "open"
    OPENED = "opened"
    CAPTURE = "capture"
    CAPTURED = "captured"
    AWAY = "away"
    LOST = "lost"
    RECOVERED = "recovered"
    FAULT = "fault"
    RESET = "reset"
    CLOSE = "close"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.CLOSED: {Event.OPEN: State.OPENING, Event.RESET: State.OPENING},
    State.OPENING: {
        Event.OPENED: State.READY,
        Event.AWAY: State.AWAY,
        Event.LOST: State.RECOVERING,
        Event.FAULT: State.FAULTED,
        Event.RESET: State.OPENING,
        Event.CLOSE: State.CLOSED,
    },
    State.READY: {
        Event.CAPTURE: State.CAPTURING,
        Event.LOST: State.RECOVERING,
        Event.FAULT: State.FAULTED,
        Event.RESET: State.OPENING,
        Event.CLOSE: State.CLOSED,
    },
    State.CAPTURING: {
        Event.CAPTURED: State.READY,
        Event.LOST: State.RECOVERING,
        Event.FAULT: State.FAULTED,
        Event.CLOSE: State.CLOSED,
    },
    State.AWAY: {
        Event.RECOVERED: State.READY,
        Event.LOST: State.RECOVERING,
        Event.FAULT: State.FAULTED,
        Event.RESET: State.OPENING,
        Event.CLOSE: State.CLOSED,
    },
    State.RECOVERING: {
        Event.RECOVERED: State.READY,
        Event.AWAY: State.AWAY,
        Event.FAULT: State.FAULTED,
        Event.RESET: State.OPENING,
        Event.CLOSE: State.CLOSED,
    },
    State.FAULTED: {Event.RESET: State.OPENING, Event.CLOSE: State.CLOSED},
}


class IllegalEvent(Exception):
    """An event that the table does not have in this state: a bug of the supervisor."""


def apply(state: State, event: Event) -> State:
    """Return the state after `event`.

    Raises:
        IllegalEvent: the table has no such transition.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        allowed = ", ".join(e.value for e in TRANSITIONS[state])
        raise IllegalEvent(
            f"event {event.value!r} in state {state.value}; allowed: {allowed}"
        ) from None
