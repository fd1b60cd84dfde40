"""What flows can say is known ahead, whichever node says it."""

from __future__ import annotations

from ivr_server.flow.ports import Prompt, Text
from ivr_server.flow.spec import load
from ivr_server.speech.used import uses, utterances

FLOW = load(
    """
flow: f
language: en
start: a
variables: {n: {type: string}}
nodes:
  a: {type: play, prompt: [welcome, {text: One.}], next: b}
  b: {type: say, text: Two., next: c}
  c: {type: say, say: digits, value: n, next: d}
  d:
    type: collect
    prompt: ask
    into: n
    max_digits: 4
    invalid: {prompts: [welcome, [{text: Three.}]], next: e}
    no_input: {final_prompt: {text: Four.}, next: e}
    next: e
  e: {type: hangup, prompt: {text: Five.}}
""",
    "f.yaml",
)


def test_every_prompt_and_text_of_every_node() -> None:
    assert utterances({"f": FLOW}) == [
        ("en", Prompt("welcome")), ("en", Text("One.")), ("en", Text("Two.")),
        ("en", Prompt("ask")), ("en", Text("Three.")), ("en", Text("Four.")),
        ("en", Text("Five.")),
    ]  # fmt: skip


def test_where_it_is_said() -> None:
    places = [place for _, what, place in uses({"f": FLOW}) if what == Prompt("welcome")]
    assert places == ["f.a", "f.d"]
