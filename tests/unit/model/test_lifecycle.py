"""The lifecycle's table, and the diagram made from it."""

import subprocess
import sys
from pathlib import Path

import pytest

from camsvc.model.lifecycle import TRANSITIONS, Event, IllegalEvent, State, apply

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_an_event_leads_where_the_table_says_or_raises(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert apply(state, event) is TRANSITIONS[state][event]
        return
    with pytest.raises(IllegalEvent, match=rf"{event.value!r} in state {state.value}; allowed: "):
        apply(state, event)


def test_every_state_is_reached_and_left() -> None:
    reached = {target for events in TRANSITIONS.values() for target in events.values()}
    assert reached == set(State)
    assert all(TRANSITIONS[state] for state in State)


def test_from_every_state_the_service_can_end_and_an_operator_can_act() -> None:
    for state in State:
        assert state is State.CLOSED or TRANSITIONS[state][Event.CLOSE] is State.CLOSED
        # A capture under way loses its attempt instead.
        assert state is State.CAPTURING or TRANSITIONS[state][Event.RESET] is State.OPENING


def test_the_diagram_in_the_docs_is_the_tables() -> None:
    script = [sys.executable, "-m", "scripts.diagram", "--check"]
    subprocess.run(script, check=True, timeout=30, cwd=ROOT)
