"""Reading flows: versions, defaults, everything that files can have wrong with each other."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from ivr_server.errors import ConfigError, Problem
from ivr_server.flow.check import check, references
from ivr_server.flow.fields import Kind
from ivr_server.flow.graph import mermaid
from ivr_server.flow.nodes import kinds
from ivr_server.flow.schema import schema
from ivr_server.flow.spec import Flow, FlowSet, examine, load

FLOWS = Path(__file__).parents[2] / "flows"

HEAD = "flow: test\nlanguage: en\nstart: a\n"


def site(*flows: Flow, numbers: dict[str, str] | None = None) -> list[str]:
    found = check(
        FlowSet(flows),
        queues={"sales"},
        destinations={"guard"},
        agents={"anna"},
        prompts={"en": {"welcome"}},
        numbers=numbers,
        at_number=lambda number, message: Problem(
            file="site.yaml", line=int(number), column=1, message=message
        ),
    )
    return [str(problem) for problem in found]


def messages(text: str) -> list[str]:
    return [f"{one.line}:{one.column}: {one.message}" for one in examine(text, "f").problems]


def test_the_version_is_the_hash_of_the_source() -> None:
    text = HEAD + "nodes: {a: {type: hangup}}\n"
    flow = load(text, "f.yaml")
    assert flow.version == sha256(text.encode()).hexdigest()[:12]
    assert (flow.name, flow.language, flow.start, flow.source) == ("test", "en", "a", text)


def test_variables_from_a_journal_fit_or_fall_back() -> None:
    flow = load(
        HEAD + "variables: {n: {type: int, default: 7}, d: {type: double, default: 1},"
        " s: {type: string}, b: {type: bool}}\n"
        "nodes:\n  a: {type: set, values: {n: n, d: d, s: s, b: b}}\n",
        "f.yaml",
    )
    assert flow.fitting({}) == {"n": 7, "d": 1.0, "s": "", "b": False}
    given = {"n": True, "d": 2.5, "s": "x", "b": 1, "gone": 3}
    assert flow.fitting(given) == {"n": 7, "d": 2.5, "s": "x", "b": False}
    assert flow.fitting({"n": 2**63}) == {"n": 7, "d": 1.0, "s": "", "b": False}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flow: test\n", ["1:1: 'language' is missing", "1:1: 'nodes' is missing",
                          "1:1: 'start' is missing"]),
        (HEAD + "nodes:\n", ["4:7: expected 'name: value' lines, found nothing"]),
        (HEAD + "nodes: {}\n",
         ["4:8: expected at least 1 here, found 0"]),
        (HEAD + "nodes: [a]\n", ["4:8: expected 'name: value' lines, found a list"]),
        (HEAD + "variables:\nnodes: {a: {type: hangup}}\n",
         ["4:11: expected 'name: value' lines, found nothing"]),
        (HEAD + "variables: {x: {}}\nnodes: {a: {type: branch, cases: [{when: x > 1, next: b}], "
         "else: b}, b: {type: hangup}}\n", ["4:13: 'type' is missing"]),
        ("flow: 1\nlanguage: russian\nstart: b\nnodes: {a: {type: hangup}}",
         ['1:7: expected a text, found the number 1: write "1" in quotes',
          "2:11: 'russian' is not a language: write ru, uk, ro, zh, fa or en",
          "3:8: no node 'b': valid: a"]),
        (HEAD + "nodes:\n  a: {type: play, prompt: x, next: b}\n  b: {type: menu, next: c}\n",
         ["6:3: 'keys' is missing", "6:3: 'prompt' is missing",
          "6:25: no node 'c': valid: a, b"]),
        (HEAD + "nodes:\n  a: {type: play, prompt: x, next: 'b c'}\n  'b c': {type: hangup}\n",
         ["5:36: 'b c' is not a name: a Latin letter, then letters, digits, '_' or '-'",
          "6:3: 'b c' is not a name: a Latin letter, then letters, digits, '_' or '-'"]),
    ],
)  # fmt: skip
def test_problems_of_one_file(text: str, expected: list[str]) -> None:
    assert messages(text) == expected


def test_load_raises_what_examine_reports() -> None:
    with pytest.raises(ConfigError) as caught:
        load("nodes: 5", "f.yaml")
    assert caught.value.problems == examine("nodes: 5", "f.yaml").problems


def test_references_to_the_site() -> None:
    one = examine(
        "flow: one\nlanguage: en\nstart: a\nnodes:\n"
        "  a: {type: play, prompt: [welcome, welcom], next: b}\n"
        "  b: {type: dial, destination: gard, on: {busy: c, noanswer: c, unreachable: c}}\n"
        "  c: {type: dial, destination: anna, on: {busy: d, noanswer: d, unreachable: d}}\n"
        "  d: {type: queue, queue: sale, on: {timeout: e, full: e, no_agents: e}}\n"
        "  e: {type: goto, flow: tow}\n",
        "one.yaml",
    )
    two = examine("flow: two\nlanguage: uk\nstart: a\nnodes: {a: {type: hangup}}\n", "two.yaml")
    assert site(one, two, numbers={"100": "one", "200": "tow"}) == [
        "one.yaml:5:37: no prompt 'welcom' in the language 'en': did you mean 'welcome'?",
        "one.yaml:6:32: no destination 'gard': did you mean 'guard'?",
        "one.yaml:8:27: no queue 'sale': did you mean 'sales'?",
        "one.yaml:9:25: no flow 'tow': did you mean 'two'?",
        "site.yaml:200:1: no flow 'tow': did you mean 'two'?",
        "two.yaml:2:11: no prompts in the language 'uk': valid: en",
    ]
    assert [mention.value for _, mention in references(one, Kind.QUEUE)] == ["sale"]


def test_two_files_with_one_name_and_a_loop_between_flows() -> None:
    def jump(name: str, to: str) -> Flow:
        text = (
            f"flow: {name}\nlanguage: en\nstart: a\nnodes:\n"
            f"  a: {{type: play, prompt: welcome, next: b}}\n  b: {{type: goto, flow: {to}}}\n"
        )
        return examine(text, f"{name}.yaml")

    assert site(
        jump("one", "two"), jump("two", "one"), examine(jump("two", "one").source, "x")
    ) == [
        "one.yaml:5:3: the loop one.a -> one.b -> two.a -> two.b -> one.a never waits for the "
        "caller",
        "x:1:7: the flow 'two' is in two.yaml already",
    ]


def test_the_graph_shows_every_node_and_outcome() -> None:
    text = mermaid(load((FLOWS / "demo.yaml").read_text("utf-8"), "demo.yaml"))
    assert text.startswith('flowchart TD\n  start(("demo")) --> n0\n')
    assert '  n2[["sales<br/>queue"]]\n' in text
    assert '  n2 -->|"timeout, no_agents, full"| n6\n' in text


def test_the_schema_names_every_node_type_and_describes_every_field() -> None:
    made = schema()
    json.dumps(made)
    nodes = made["properties"]["nodes"]["additionalProperties"]["oneOf"]
    assert len(nodes) == len(kinds())
    for name, definition in made["$defs"].items():
        for field, entry in definition["properties"].items():
            assert "description" in entry or field == "type", f"{name}.{field}"


def written(nodes: str, name: str = "test", language: str = "en") -> str:
    return f"flow: {name}\nlanguage: {language}\nstart: a\nnodes:\n{nodes}"


ASK = "invalid: {next: b}, no_input: {next: b}"


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (
            f"  a: {{type: menu, prompt: q, keys: {{*: b}}, {ASK}}}\n  b: {{type: hangup}}\n",
            ['5:37: keys are texts: write "*" in quotes'],
        ),
        (
            f"  a:\n    type: menu\n    prompt: q\n    keys:\n      *: b\n    {ASK}\n",
            ['9:7: keys are texts: write "*" in quotes'],
        ),
        (
            "  a: {type: collect, prompt: q, into: n, max_digits: 4, interdigit_timeout: 0,"
            f" next: b, {ASK}}}\n  b: {{type: hangup}}\nvariables: {{n: {{type: string}}}}\n",
            ["5:77: nobody types 4 digits so fast: at least 500ms"],
        ),
        ("  a: {type: play, prompt: []}\n", ["5:27: an empty list: nothing would be heard"]),
        (
            '  a: {type: play, prompt: {text: "..."}}\n',
            ["5:34: there are no words here: nothing would be heard"],
        ),
        (
            '  a: {type: say, text: "?!"}\n',
            ["5:24: there are no words here: nothing would be heard"],
        ),
        (
            "  a: {type: say, say: digits, value: 0800123}\n",
            [
                "5:38: as a number 0800123 loses its zeros: write '\"0800123\"', in quotes of both "
                "kinds"
            ],
        ),
        (
            "  a: {type: play, prompt: q, next: mian}\n  main: {type: goto, node: end}\n"
            "  end: {type: hangup}\n",
            ["5:36: no node 'mian': did you mean 'main'?"],
        ),
        (
            "  a: {type: play, prompt: q}\n  main: {type: goto, node: more}\n"
            "  more: {type: goto, node: end}\n  end: {type: hangup}\n",
            ["6:3: nothing leads to the node 'main'"],
        ),
    ],
    ids=["star in a flow mapping", "star on its own line", "no time to type", "no prompt",
         "no words", "no words to say", "leading zero", "a misspelt target", "a missing next"],
)  # fmt: skip
def test_one_mistake_is_one_message(nodes: str, expected: list[str]) -> None:
    assert messages(written(nodes)) == expected


def test_a_number_with_zeros_in_front_is_spoken_with_them() -> None:
    assert messages(written("  a: {type: say, say: digits, value: '\"0800123\"'}\n")) == []


def test_a_flow_that_goes_to_itself_without_a_pause() -> None:
    one = examine(
        written("  a: {type: play, prompt: welcome, next: b}\n  b: {type: goto, flow: test}\n"), "f"
    )
    assert site(one) == ["f:5:3: the loop test.a -> test.b -> test.a never waits for the caller"]


def test_a_flow_in_another_language_is_no_place_to_go_to() -> None:
    one = examine(written("  a: {type: goto, flow: other}\n"), "f")
    other = examine(written("  a: {type: hangup}\n", "other", "ru"), "g")
    assert site(one, other)[0].startswith(
        "f:5:25: the flow 'other' is in the language 'ru' and this one in 'en'"
    )


def test_a_second_file_with_the_same_name_is_examined_too() -> None:
    first = examine(written("  a: {type: hangup}\n"), "f")
    second = examine(written("  a: {type: hangpu}\n"), "g")
    assert site(first, second) == [
        "g:1:7: the flow 'test' is in f already",
        "g:5:13: unknown type 'hangpu': did you mean 'hangup'?",
    ]


def test_very_many_misspelt_names_are_found_in_bounded_time() -> None:
    """Comparing each with each would take half a minute."""
    nodes = "".join(f"  n{i}: {{type: goto, node: m{i}}}\n" for i in range(1500))
    found = messages(written(nodes.replace("n0:", "a:", 1)))
    assert len(found) >= 1500
