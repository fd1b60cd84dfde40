"""The table of an agent's states, whole: every pair that may happen and every pair that may not."""

from __future__ import annotations

import pytest

from ivr_server.acd.agents import TRANSITIONS, Agent, AgentEvent, AgentState, ImpossibleTransition
from ivr_server.acd.settings import AgentSettings

ANNA = AgentSettings(name="anna", display="Анна", endpoint="PJSIP/anna", queues=("sales",))

# Rows are states, columns events; a dot must be refused. Written down apart from the code.
GRID = """
            login logout     offer   answer  miss  withdraw release wrapped pause  unpause
logged_out  ready .          .       .       .     .        .       .       .      .
ready       .     logged_out ringing .       .     .        .       .       paused .
ringing     .     .          .       talking ready ready    .       .       .      .
talking     .     .          .       .       .     .        wrap_up .       .      .
wrap_up     .     logged_out .       .       .     .        .       ready   paused .
paused      .     logged_out .       .       .     .        .       .       .      ready
"""
EVENTS, *ROWS = [line.split() for line in GRID.strip().splitlines()]
CASES = [
    (AgentState(row[0]), AgentEvent(event), cell)
    for row in ROWS
    for event, cell in zip(EVENTS, row[1:], strict=True)
]


def agent(state: AgentState, **known: object) -> Agent:
    return Agent(settings=ANNA, state=state, **known)  # type: ignore[arg-type]


def test_the_grid_names_every_state_and_event() -> None:
    assert {(state, event) for state, event, _ in CASES} == {
        (state, event) for state in AgentState for event in AgentEvent
    }
    assert len(TRANSITIONS) == sum(cell != "." for *_, cell in CASES)


@pytest.mark.parametrize(("state", "event", "cell"), CASES)
def test_every_pair(state: AgentState, event: AgentEvent, cell: str) -> None:
    before = agent(state, since=3.0, idle_since=2.0)
    if cell == ".":
        with pytest.raises(ImpossibleTransition, match=f"anna is {state}: '{event}'"):
            before.after(event, 10.0)
    else:
        after = before.after(event, 10.0)
        assert (after.state, after.since) == (AgentState(cell), 10.0)
        assert after.settings is ANNA


@pytest.mark.parametrize(
    ("state", "event", "idle_since"),
    [
        (AgentState.LOGGED_OUT, AgentEvent.LOGIN, 10.0),
        (AgentState.TALKING, AgentEvent.RELEASE, 10.0),
        (
            AgentState.RINGING,
            AgentEvent.MISS,
            10.0,
        ),  # who misses a call goes to the end of the line
        (AgentState.RINGING, AgentEvent.WITHDRAW, 2.0),  # not the agent's fault: keeps the turn
        (AgentState.RINGING, AgentEvent.ANSWER, 2.0),
        (AgentState.WRAP_UP, AgentEvent.WRAPPED, 2.0),  # idle counts from the end of the talk
        (AgentState.READY, AgentEvent.OFFER, 2.0),
    ],
)
def test_what_longest_idle_looks_at(
    state: AgentState, event: AgentEvent, idle_since: float
) -> None:
    assert agent(state, idle_since=2.0).after(event, 10.0).idle_since == idle_since


def test_a_miss_brings_a_rest_and_is_remembered() -> None:
    missed = agent(AgentState.RINGING).after(AgentEvent.MISS, 10.0, rest_s=5.0, visit="v1")
    assert (missed.not_before, missed.last_refused) == (15.0, "v1")
    assert not missed.available(14.99)
    assert missed.available(15.0)


def test_an_answer_forgets_the_miss_and_a_withdrawal_does_not() -> None:
    ringing = agent(AgentState.RINGING, last_refused="v1", not_before=4.0)
    assert ringing.after(AgentEvent.ANSWER, 10.0).last_refused == ""
    withdrawn = ringing.after(AgentEvent.WITHDRAW, 10.0, rest_s=99.0)
    assert (withdrawn.last_refused, withdrawn.not_before) == ("v1", 4.0)  # no rest: nothing missed


@pytest.mark.parametrize("state", AgentState)
def test_only_a_ready_agent_is_available(state: AgentState) -> None:
    assert agent(state).available(10.0) is (state is AgentState.READY)
