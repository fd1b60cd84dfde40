"""Strategies are found by file name; longest idle goes by idle time and never by chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.acd import strategies
from ivr_server.acd.agents import Agent, AgentState
from ivr_server.acd.settings import AgentSettings, QueueSettings


def agent(name: str, idle_since: float) -> Agent:
    settings = AgentSettings(name=name, display=name, endpoint=f"PJSIP/{name}", queues=("sales",))
    return Agent(settings=settings, state=AgentState.READY, idle_since=idle_since)


SOME = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3)), unique_by=lambda one: one[0]
)


def test_the_default_of_a_queue_exists() -> None:
    assert QueueSettings(name="sales").strategy in strategies.names()


def test_an_unknown_strategy_is_a_key_error_even_if_such_a_module_could_be_imported() -> None:
    for name in ("nonsense", "__init__", "..agents", ""):
        with pytest.raises(KeyError):
            strategies.find(name)


@pytest.mark.parametrize("name", sorted(strategies.names()))
@given(SOME)
def test_every_strategy_ranks_all_it_was_given_the_same_from_any_order(
    name: str, some: list[tuple[str, int]]
) -> None:
    agents = [agent(*one) for one in some]
    rank = strategies.find(name)
    ranked = rank(agents, 10.0)
    assert sorted(one.name for one in ranked) == sorted(one.name for one in agents)
    assert rank(agents[::-1], 10.0) == ranked


def test_longest_idle_first_and_equal_ones_by_name() -> None:
    rank = strategies.find("longest_idle")
    ranked = rank([agent("vera", 5), agent("boris", 1), agent("anna", 5), agent("gleb", 9)], 10.0)
    assert [one.name for one in ranked] == ["boris", "anna", "vera", "gleb"]
