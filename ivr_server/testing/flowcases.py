"""Tests of flows, written in YAML and run with no phone: `flows/tests/*.yaml`.

    flow: demo                      # a flow of the site, or the text of one (a block scalar)
    cases:
      - name: the order's digits are said back
        caller: "+74951234567"      # also: dialled, language, start, variables
        keys: ["2", "1234"]         # the script of testing/scripted.py
        expect:
          steps: [greeting, main_menu 2, ask_order done]     # a node, or a node and its outcome
          heard: [welcome, main_menu, ask_order, "digits: 1234"]
          variables: {order: "1234"}
          end: hangup               # hangup, end, runaway, caller_gone
      - name: a node without its way out
        flow: |
          ...
        problems: ["4:3: the outcome 'full' of 'wait' has nowhere to go"]

`steps` and `heard` are whole lists; `visits` and `hears` are names that must occur. Reports which
nodes and outcomes no case came through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ivr_server.errors import nearest
from ivr_server.flow import document, spec
from ivr_server.flow.fields import Language, Section
from ivr_server.flow.simulate import Transcript, WalkEnd, simulate, spoken
from ivr_server.flow.spec import Flow
from ivr_server.testing.scripted import ScriptedCaller


class Expected(Section):
    """What must have happened; what is not named is not looked at."""

    steps: list[str] | None = Field(None, description="Every node, in order, or 'node outcome'.")
    visits: list[str] = Field(default_factory=list, description="Nodes that must be come through.")
    heard: list[str] | None = Field(None, description="Everything that was heard, in order.")
    hears: list[str] = Field(default_factory=list, description="What must be heard, in order.")
    variables: dict[str, Any] = Field(default_factory=dict, description="Values at the end.")
    end: Literal["hangup", "end", "runaway", "caller_gone"] | None = Field(
        None, description="How the call ended."
    )
    errors: int | None = Field(None, description="How many expressions had no value.")
    lasts_s: float | None = Field(None, description="Seconds of the whole call, to 0.1 s.")


class Case(Section):
    """One simulated call, or one flow that must be refused."""

    name: str = Field(min_length=1, description="What this case shows.")
    flow: str | None = Field(None, description="Name or text of the flow, if not the file's.")
    keys: list[str] = Field(default_factory=list, description="The script of the caller.")
    caller: str = Field("+70000000001", description="The caller's number.")
    dialled: str = Field("88000000000", description="The dialled number.")
    language: Language | None = Field(None, description="The caller's language; else the flow's.")
    variables: dict[str, Any] = Field(default_factory=dict, description="Values at the start.")
    start: str | None = Field(None, description="The node to start at.")
    expect: Expected = Field(
        default_factory=lambda: Expected.model_validate({}), description="What must have happened."
    )
    problems: list[str] | None = Field(None, description="Problems of the flow, line:column: text.")


class CaseFile(Section):
    """A file of cases."""

    flow: str | None = Field(None, description="Name or text of the flow of all cases.")
    cases: list[Case] = Field(min_length=1, description="The cases.")


@dataclass(frozen=True)
class Result:
    """One case that was run. `failures` says what was otherwise than expected; empty = passed."""

    file: str
    line: int
    case: Case
    failures: tuple[str, ...]
    transcript: Transcript | None = None
    flow: Flow | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: {self.case.name}"
        if not self.failures:
            return f"ok    {place}"
        lines = [f"FAIL  {place}", *(f"        {failure}" for failure in self.failures)]
        if self.transcript is not None:
            lines += [f"      {line}" for line in str(self.transcript).splitlines()]
        return "\n".join(lines)


@dataclass
class Coverage:
    """Which nodes and outcomes of some flows were come through."""

    wanted: set[tuple[str, str, str]] = field(default_factory=set)  # flow, node, outcome or ''
    seen: set[tuple[str, str, str]] = field(default_factory=set)

    def count(self, flow: Flow) -> None:
        """Ask for every node of the flow and every outcome that the node declares."""
        for name, node in flow.nodes.items():
            self.wanted.add((flow.name, name, ""))
            self.wanted |= {(flow.name, name, outcome.name) for outcome in node.outcomes()}

    def walk(self, transcript: Transcript) -> None:
        for step in transcript.steps:
            self.seen |= {(step.flow, step.node, ""), (step.flow, step.node, step.outcome)}

    @property
    def missing(self) -> list[str]:
        """`flow.node` or `flow.node outcome`, for what no case came through."""
        return [f"{a}.{b} {c}".rstrip() for a, b, c in sorted(self.wanted - self.seen)]

    def __str__(self) -> str:
        nodes = {entry for entry in self.wanted if not entry[2]}
        outcomes = self.wanted - nodes
        return (
            f"nodes {len(nodes & self.seen)}/{len(nodes)}, "
            f"outcomes {len(outcomes & self.seen)}/{len(outcomes)}"
        )


def run_file(path: Path, flows: Mapping[str, Flow]) -> list[Result]:
    """Run all cases of a file. Raises ConfigError when the file itself has mistakes."""
    return run_text(document.read(path), str(path), flows)


def run_text(text: str, file: str, flows: Mapping[str, Flow]) -> list[Result]:
    """As run_file, for a text."""
    cases = document.load(text, file, CaseFile)
    places = document.parse(text, file)
    return [
        _run(file, places.spot(("cases", index)).line, case, case.flow or cases.flow, flows)
        for index, case in enumerate(cases.cases)
    ]


def coverage(results: Iterable[Result]) -> Coverage:
    """What the results came through, of all the flows they ran."""
    covered = Coverage()
    for result in results:
        if result.flow is not None and result.transcript is not None:
            covered.count(result.flow)
            covered.walk(result.transcript)
    return covered


def _run(file: str, line: int, case: Case, source: str | None, flows: Mapping[str, Flow]) -> Result:
    if source is None:
        return Result(file, line, case, ("there is no 'flow', neither here nor at the top",))
    if "\n" in source:
        flow = spec.examine(source, file)
    elif source in flows:
        flow = flows[source]
    else:
        return Result(file, line, case, (f"no flow '{source}'",))

    problems = [f"{one.line}:{one.column}: {one.message}" for one in flow.problems]
    if problems or case.problems is not None:
        failures = _differ("problems", problems, case.problems or [])
        return Result(file, line, case, tuple(failures))
    if senseless := _senseless(case, flow):
        return Result(file, line, case, tuple(senseless))
    try:
        caller = ScriptedCaller(
            case.keys,
            number=case.caller,
            dialled=case.dialled,
            language=case.language or flow.language,
        )
    except ValueError as error:
        return Result(file, line, case, (str(error),))
    transcript = simulate(flows, flow, caller, variables=case.variables, start=case.start)
    failures = _failures(case.expect, transcript, caller)
    return Result(file, line, case, tuple(failures), transcript, flow)


def _senseless(case: Case, flow: Flow) -> list[str]:
    """What the case asks for and the flow does not have: such a case could never fail."""
    found = []
    if case.start is not None and case.start not in flow.nodes:
        found.append(f"start: no node '{case.start}': {nearest(case.start, flow.nodes)}")
    for name, value in case.variables.items():
        if name not in flow.variables:
            found.append(f"variables: no variable '{name}': {nearest(name, flow.variables)}")
        elif not flow.variables[name].fits(value):
            found.append(f"variables: {name} is no {flow.variables[name]}: {value!r}")
    found += [
        f"expect: no node '{name}': {nearest(name, flow.nodes)}"
        for name in case.expect.visits
        if name not in flow.nodes and not any(node.jump() for node in flow.nodes.values())
    ]
    if not case.expect.model_fields_set:
        found.append("nothing is expected: write what must happen under 'expect'")
    return found


def _failures(expect: Expected, transcript: Transcript, caller: ScriptedCaller) -> list[str]:
    heard = [spoken(utterance) for utterance in caller.heard]
    failures: list[str] = []
    if expect.steps is not None:
        wanted = expect.steps
        walked = [
            f"{step.node} {step.outcome}" if index >= len(wanted) or " " in wanted[index]
            else step.node
            for index, step in enumerate(transcript.steps)
        ]  # fmt: skip
        failures += _differ("steps", walked, wanted)
    visited = [step.node for step in transcript.steps]
    failures += [f"never came to '{name}'" for name in expect.visits if name not in visited]
    if expect.heard is not None:
        failures += _differ("heard", heard, expect.heard)
    rest = iter(heard)
    failures += [f"never heard '{what}' (in order)" for what in expect.hears if what not in rest]
    values = transcript.variables
    for name, value in expect.variables.items():
        if name not in values or values[name] != value or type(values[name]) is not type(value):
            failures.append(f"variable {name}: {values.get(name)!r}, expected {value!r}")
    if expect.end is not None and transcript.end is not WalkEnd(expect.end):
        failures.append(f"end: {transcript.end}, expected {expect.end}")
    errors = sum(len(step.detail.get("errors", ())) for step in transcript.steps)
    if expect.errors is not None and errors != expect.errors:
        failures.append(f"errors: {errors}, expected {expect.errors}")
    if expect.lasts_s is not None and abs(caller.now_s - expect.lasts_s) > 0.1:
        failures.append(f"lasted {caller.now_s:.1f} s, expected {expect.lasts_s:.1f} s")
    if caller.left_over:
        failures.append(f"the flow never came to these steps of the script: {caller.left_over}")
    return failures


def _differ(what: str, found: list[str], wanted: list[str]) -> list[str]:
    if found == wanted:
        return []
    return [f"{what}:   {', '.join(found)}", f"{' ' * len(what)}  expected {', '.join(wanted)}"]
