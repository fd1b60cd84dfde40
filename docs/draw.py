"""Draws the agent's states into docs/architecture.md, out of the table in the code.

    python docs/draw.py

Rewrites what stands between the two markers and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from ivr_server.acd.agents import TRANSITIONS, Agent, AgentEvent, AgentState

PAGE = Path(__file__).parent / "architecture.md"
BEGIN = "<!-- agent states: drawn by docs/draw.py -->"
END = "<!-- end of agent states -->"


def picture() -> str:
    """Mermaid text; events that lead from one state to the same other share an arrow."""
    arrows: dict[tuple[AgentState, AgentState], list[AgentEvent]] = {}
    for (state, event), target in TRANSITIONS.items():
        arrows.setdefault((state, target), []).append(event)
    lines = ["stateDiagram-v2", f"    [*] --> {Agent.state}"]
    lines += [f"    {state} --> {to} : {', '.join(why)}" for (state, to), why in arrows.items()]
    return "\n".join(lines)


def drawn(page: str) -> str:
    """The page with a fresh picture. Raises ValueError when a marker is missing."""
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n```mermaid\n{picture()}\n```\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
