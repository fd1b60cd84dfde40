"""Whatever the text: a Flow or ConfigError. Whatever the keys: the engine comes to an end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ivr_server.errors import ConfigError
from ivr_server.flow.check import check
from ivr_server.flow.graph import mermaid
from ivr_server.flow.nodes import kinds
from ivr_server.flow.simulate import WalkEnd, simulate
from ivr_server.flow.spec import FlowSet, examine, load
from ivr_server.testing.scripted import ScriptedCaller

ROOT = Path(__file__).parents[2]
DEMOS = [path.read_text("utf-8") for path in sorted((ROOT / "flows").glob("demo*.yaml"))]
WORDS = sorted(
    {word for text in DEMOS for word in text.replace(":", " ").split()}
    | {field for kind in kinds().values() for field in kind.model_fields}
    | set(kinds())
    | set("{}[],:-|>&*!%@`'\"#?~\n\t")
    | {"<<", "a:", "b:", "-1", "5s", "1/0", "x>1", "!!int"}
)
SCRIPTS = st.lists(
    st.sampled_from(
        [*"0123456789*#ABCD", "12", "1234", "0s", "1s", "9s", "silence", "hangup", "timeout",
         "answered", "full", "no_agents", "busy", "noanswer"]
    ),
    max_size=25,
)  # fmt: skip

names = st.sampled_from(["a", "b", "c", "d", "e"])
outcomes = st.sampled_from(
    ["done", "timeout", "full", "no_agents", "answered", "busy", "noanswer", "unreachable",
     "invalid", "no_input", "else"]
)  # fmt: skip
numbers = st.sampled_from(["n + 1", "n / (n - 2)", "5 % n", "int(s)", "9223372036854775807 * n"])
conditions = st.sampled_from(
    ["n > 3", "1 / (n - 2) > 0", "s == ''", "int(s) > 1", "s.matches(s)", "caller.number == s"]
)
phrases = st.sampled_from(
    ["welcome", "{text: Hi}", "{say: digits, value: s}", "{say: number, value: n}", "[a, b]"]
)


@st.composite
def nodes(draw: st.DrawFn) -> str:
    """A node that may or may not be sound."""
    kind = draw(st.sampled_from(sorted(kinds())))
    fields = {
        "play": f"prompt: {draw(phrases)}",
        "say": f"text: x, barge_in: {draw(st.sampled_from(['true', 'false']))}",
        "menu": f"prompt: {draw(phrases)}, keys: {{'1': {draw(names)}, '12': {draw(names)}}}, "
        f"invalid: {{next: {draw(names)}}}, no_input: {{retries: 0, next: {draw(names)}}}",
        "collect": f"prompt: {draw(phrases)}, into: s, max_digits: 3, min_digits: 0",
        "branch": f"cases: [{{when: {draw(conditions)}, next: {draw(names)}}}], "
        f"else: {draw(names)}",
        "set": f"values: {{n: {draw(numbers)}}}",
        "goto": f"node: {draw(names)}",
        "queue": "queue: sales, exit_keys: {'*': " + draw(names) + "}",
        "dial": "destination: guard",
        "hangup": f"prompt: {draw(phrases)}",
    }[kind]
    wires = {outcome: draw(names) for outcome in draw(st.sets(outcomes, max_size=5))}
    if kind == "queue":
        wires = {outcome: draw(names) for outcome in ("timeout", "full", "no_agents")}
    if kind == "dial":
        wires = {outcome: draw(names) for outcome in ("busy", "noanswer", "unreachable")}
    if kind == "collect":
        wires = {outcome: draw(names) for outcome in ("invalid", "no_input", "done")}
    if kind in ("branch", "goto", "hangup", "menu"):
        wires = {}
    if kind in ("play", "say", "set"):
        wires = {"done": draw(names)}
    on = ", ".join(f"{outcome}: {target}" for outcome, target in wires.items())
    return f"{{type: {kind}, {fields}, on: {{{on}}}}}"


@st.composite
def flows(draw: st.DrawFn) -> str:
    """A flow with a start that comes to most of its nodes."""
    lines = [f"  {name}: {draw(nodes())}" for name in "abcde"]
    return (
        "flow: f\nlanguage: en\nstart: a\n"
        "variables: {n: {type: int, default: 2}, s: {type: string}}\nnodes:\n" + "\n".join(lines)
    )


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A demo flow with pieces cut out, doubled, and put in."""
    text = draw(st.sampled_from(DEMOS))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.integers(0, 30)))
        piece = draw(st.one_of(st.just(""), st.sampled_from(WORDS), st.text(max_size=3)))
        text = text[:at] + piece + text[to:]
    return text


def accept(text: str) -> None:
    flow = examine(text, "f.yaml")
    for problem in flow.problems:
        assert problem.line <= text.count("\n") + 2
        assert problem.column >= 0
        assert problem.message
        assert "\n" not in problem.message or "\n" in text
    check(FlowSet([flow]), queues={"q"}, destinations=set(), agents=set(), prompts={"en": {"a"}})
    mermaid(flow)
    if flow.problems:
        with pytest.raises(ConfigError):
            load(text, "f.yaml")
    else:
        load(text, "f.yaml")


@given(st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map(" ".join)))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_flow_or_a_list_of_problems(text: str) -> None:
    accept(text)


@given(damaged())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_damage_is_a_flow_or_a_list_of_problems(text: str) -> None:
    accept(text)


@given(flows(), SCRIPTS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_accepted_flow_ends_whatever_is_typed(text: str, script: list[str]) -> None:
    accept(text)
    flow = examine(text, "f.yaml")
    # Most generated flows have loops that never wait, lonely nodes or unused variables, which the
    # engine has to survive too; only what could not be read cannot be walked.
    if any(name not in flow.nodes for name in "abcde") or any(
        "loop" not in problem.message and "nothing" not in problem.message
        for problem in flow.problems
    ):
        return
    walk = simulate(FlowSet([flow]), flow, ScriptedCaller(script))
    assert walk.end in WalkEnd
    assert not [step for step in walk.steps if step.outcome in ("", "failed")]


@given(st.sampled_from(DEMOS), SCRIPTS)
@settings(max_examples=200, deadline=None)
def test_the_demos_end_whatever_is_typed(text: str, script: list[str]) -> None:
    flow = load(text, "demo.yaml")
    walk = simulate(FlowSet([flow]), flow, ScriptedCaller(script))
    assert walk.end in (WalkEnd.HANGUP, WalkEnd.CALLER_GONE)
