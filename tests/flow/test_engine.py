"""The engine: story, ends, resuming, other flows, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ivr_server.flow import engine
from ivr_server.flow.engine import FlowEnd
from ivr_server.flow.ports import CallerGone, Queued, QueueOutcome, QueueRequest
from ivr_server.flow.simulate import WalkEnd, at_once, simulate
from ivr_server.flow.spec import Flow, FlowSet, load
from ivr_server.testing.scripted import ScriptedCaller

FLOWS = Path(__file__).parents[2] / "flows"
DEMO = load((FLOWS / "demo.yaml").read_text("utf-8"), "demo.yaml")


class Told:
    """A story kept in a list."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.variables: list[Mapping[str, Any]] = []

    def entered(
        self, *, flow: str, version: str, node: str, node_type: str, variables: Mapping[str, Any]
    ) -> None:
        self.told.append(("entered", flow, version, node, node_type))
        self.variables.append(variables)

    def left(self, *, outcome: str, detail: Mapping[str, Any]) -> None:
        self.told.append(("left", outcome))


def flow(nodes: str, *, name: str = "test", variables: str = "{}") -> Flow:
    text = f"flow: {name}\nlanguage: en\nstart: a\nvariables: {variables}\nnodes:\n{nodes}"
    return load(text, f"{name}.yaml")


def test_the_story_has_both_ends_of_every_node() -> None:
    story, caller = Told(), ScriptedCaller(["1"])
    assert at_once(engine.run({}, DEMO, caller, story)) is FlowEnd.HANGUP
    assert caller.answered
    assert story.told == [
        ("entered", "demo", DEMO.version, "greeting", "play"), ("left", "done"),
        ("entered", "demo", DEMO.version, "main_menu", "menu"), ("left", "1"),
        ("entered", "demo", DEMO.version, "sales", "queue"), ("left", "answered"),
        ("entered", "demo", DEMO.version, "farewell", "hangup"), ("left", "hangup"),
    ]  # fmt: skip


def test_a_caller_who_hangs_up_passes_through() -> None:
    story = Told()
    with pytest.raises(CallerGone):
        at_once(engine.run({}, DEMO, ScriptedCaller(["hangup"]), story))
    assert story.told[-1] == ("left", "caller_gone")


def test_an_error_of_the_line_passes_through_with_the_story_told() -> None:
    class Cut(ScriptedCaller):
        async def queue(self, request: QueueRequest) -> Queued:
            raise ConnectionError

    story = Told()
    with pytest.raises(ConnectionError):
        at_once(engine.run({}, DEMO, Cut(["1"]), story))
    assert story.told[-1] == ("left", "failed")


def test_resuming_at_a_node_with_its_variables() -> None:
    story, caller = Told(), ScriptedCaller()
    kept = {"order": "0042", "old": 1}
    end = at_once(engine.run({}, DEMO, caller, story, start="order_status", variables=kept))
    assert end is FlowEnd.HANGUP
    assert [str(what) for what in story.told[0][3:]] == ["order_status", "play"]
    assert story.variables[0] == {"order": "0042"}


def test_resuming_at_a_node_that_is_gone_starts_again() -> None:
    story = Told()
    at_once(engine.run({}, DEMO, ScriptedCaller(["1"]), story, start="was_here_before"))
    assert story.told[0][3] == "greeting"


def test_variables_go_along_into_another_flow_where_they_fit() -> None:
    one = flow("  a: {type: goto, flow: two}\n", name="one")
    first = flow(
        "  a: {type: set, values: {n: '7', s: \"'x'\"}, next: b}\n  b: {type: goto, flow: two}\n",
        name="first", variables="{n: {type: int}, s: {type: string}}",
    )  # fmt: skip
    two = flow(
        "  a: {type: set, values: {m: n + 1, s: s}}\n",
        name="two", variables="{n: {type: int}, s: {type: bool}, m: {type: int}}",
    )  # fmt: skip
    flows = FlowSet([one, two, first])
    walk = simulate(flows, first, ScriptedCaller())
    assert walk.variables == {"n": 7, "s": False, "m": 8}
    assert walk.end is WalkEnd.END


def test_a_loop_that_escaped_the_checks_is_stopped() -> None:
    text = (
        "flow: {0}\nlanguage: en\nstart: a\nnodes:\n  a: {{type: play, prompt: x, next: b}}\n"
        "  b: {{type: goto, flow: {1}}}\n"
    )
    one, two = load(text.format("one", "two"), "1"), load(text.format("two", "one"), "2")
    walk = simulate(FlowSet([one, two]), one, ScriptedCaller())
    assert walk.end is WalkEnd.RUNAWAY
    assert len(walk.steps) == engine.RUNAWAY_NODES + 1


def test_waiting_for_the_caller_is_no_runaway() -> None:
    menu = flow(
        "  a: {type: menu, prompt: x, keys: {'1': a}, invalid: {next: a}, no_input: {next: a}}\n"
    )
    walk = simulate({}, menu, ScriptedCaller(["1" * 3000]))
    assert walk.end is WalkEnd.CALLER_GONE
    assert len(walk.steps) > 3000


def test_keys_of_the_talk_choose_nothing_afterwards() -> None:
    class Talker(ScriptedCaller):
        async def queue(self, request: QueueRequest) -> Queued:
            self._typed.extend("22")
            return Queued(QueueOutcome.ANSWERED)

    again = flow(
        "  a: {type: queue, queue: q, on: {answered: b, timeout: c, full: c, no_agents: c}}\n"
        "  b: {type: menu, prompt: x, keys: {'2': c}, invalid: {next: c},"
        " no_input: {retries: 0, next: c}}\n  c: {type: hangup}\n"
    )
    story = Told()
    at_once(engine.run({}, again, Talker(), story))
    assert story.told[3] == ("left", "no_input")


def test_a_simulated_caller_must_not_wait_for_the_world() -> None:
    class Slow(ScriptedCaller):
        async def answer(self) -> None:
            import asyncio

            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="must not wait"):
        simulate({}, DEMO, Slow())


def test_the_transcript_is_for_people() -> None:
    shown = str(simulate({}, DEMO, ScriptedCaller(["2", "1234"])))
    assert "3.0s  [demo.main_menu] menu\n" in shown
    assert "presses  2\n" in shown
    assert "hears    digits: 1234\n" in shown
    assert shown.endswith("end: hangup")
