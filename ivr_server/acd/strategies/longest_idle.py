"""The agent who has been without a call for longest goes first."""

from __future__ import annotations

from collections.abc import Sequence

from ivr_server.acd.agents import Agent


def rank(agents: Sequence[Agent], now: float) -> list[Agent]:
    """Longest idle first; equal ones by name, so that the order never depends on chance."""
    return sorted(agents, key=lambda agent: (agent.idle_since, agent.name))
