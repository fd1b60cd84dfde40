"""One flow with ten different mistakes gives exactly ten messages, each at its place."""

from __future__ import annotations

from ivr_server.flow.check import check
from ivr_server.flow.spec import FlowSet, examine

TEN = """\
flow: ten
language: ru
start: greeting
variables:
  order: {type: string}
  attempts: {type: int, default: 0}

nodes:
  greeting:
    type: play
    promt: welcome
    prompt: hello
    next: main_menu

  main_menu:
    type: menu
    prompt: main_menu
    keys:
      1: sales
      "2": order_status
      "3": count
    invalid: {next: bye}
    no_input: {next: bye}

  sales:
    type: queue
    queue: salse
    on: {timeout: bye, full: by, no_agents: bye}

  order_status:
    type: colect
    into: order
    next: bye

  count:
    type: set
    values:
      attempts: attempts + "1"
    next: check

  check:
    type: branch
    cases:
      - when: attempts > 2 && ordr == ""
        next: bye
      - when: order == "1"
        next: main_menu

  forgotten:
    type: play
    prompt: goodbye
    next: bye

  bye:
    type: hangup
    prompt: [goodbye, {say: digits, value: order}]
"""

EXPECTED = [
    "ten.yaml:11:5: unknown key 'promt': did you mean 'prompt'?",
    "ten.yaml:12:13: no prompt 'hello' in the language 'ru': valid: goodbye, main_menu, welcome",
    'ten.yaml:19:7: keys are texts: write "1" in quotes',
    "ten.yaml:27:12: no queue 'salse': did you mean 'sales'?",
    "ten.yaml:28:30: no node 'by': did you mean 'bye'?",
    "ten.yaml:31:11: unknown type 'colect': did you mean 'collect'?",
    "ten.yaml:38:26: '+' does not work with (int, string)",
    "ten.yaml:41:3: the outcome 'else' of 'check' has nowhere to go",
    "ten.yaml:44:31: unknown name 'ordr': did you mean 'order'?",
    "ten.yaml:49:3: nothing leads to the node 'forgotten'",
]


def test_ten_mistakes_ten_messages() -> None:
    problems = check(
        FlowSet([examine(TEN, "ten.yaml")]),
        queues={"sales", "support"},
        destinations=set(),
        agents=set(),
        prompts={"ru": {"welcome", "main_menu", "goodbye"}},
    )
    assert [str(problem) for problem in problems] == EXPECTED
