"""Mistakes that show only beside the rest of the site: queues, prompts, numbers, other flows.

Knows the names of what there is, not what it does; prompts are a set of names per language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from itertools import pairwise

from ivr_server.errors import Problem, nearest
from ivr_server.flow.fields import Kind, Mention, Refers, mentions
from ivr_server.flow.spec import Flow, FlowSet
from ivr_server.flow.wiring import hasty, loops


def check(
    flows: FlowSet,
    *,
    queues: Set[str],
    destinations: Set[str],
    agents: Set[str],
    prompts: Mapping[str, Set[str]],
    numbers: Mapping[str, str] | None = None,
    at_number: Callable[[str, str], Problem] = lambda number, message: Problem(
        file=number, line=0, column=0, message=message
    ),
    unread: bool = False,
) -> list[Problem]:
    """All problems of the flows: those within each file, and those between them and the site.

    `prompts` maps a language to the names of its phrases; `numbers` maps a dialled number to the
    name of its flow, and `at_number` makes the problem of a number that leads nowhere. `unread`:
    there are files of which not even the flow's name is known, so that any name may be theirs.
    """
    known: dict[Kind, Set[str]] = {Kind.QUEUE: queues, Kind.DESTINATION: destinations | agents}
    if not unread:
        known[Kind.FLOW] = flows.keys()
    problems = [*flows.problems]
    for flow in flows.values():
        problems += flow.problems
        problems += _check_flow(flow, known, prompts)
        problems += _check_languages(flow, flows)
    problems += _check_loops(flows)
    for number, name in (numbers or {}).items():
        if name not in flows and not unread:
            message = f"no flow '{name}': {nearest(name, flows)}"
            problems.append(at_number(number, message))
    return sorted(set(problems))


def references(flow: Flow, kind: Kind) -> Iterator[tuple[str, Mention]]:
    """Every place where a flow names something of this kind, with the name of the node."""
    for name, node in flow.nodes.items():
        for mention in mentions(node):
            if mention.mark == Refers(kind):
                yield name, mention


def _check_flow(
    flow: Flow, known: Mapping[Kind, Set[str]], prompts: Mapping[str, Set[str]]
) -> Iterator[Problem]:
    for kind, names in known.items():
        for node, mention in references(flow, kind):
            if mention.value not in names:
                message = f"no {kind} '{mention.value}': {nearest(mention.value, names)}"
                yield flow.document.at(("nodes", node, *mention.path), message)
    if flow.language and flow.language not in prompts:
        message = f"no prompts in the language '{flow.language}': {nearest('', prompts)}"
        yield flow.document.at(("language",), message)
        return
    phrases = prompts.get(flow.language, frozenset())
    for node, mention in references(flow, Kind.PROMPT) if flow.language else ():
        if mention.value not in phrases:
            hint = nearest(mention.value, phrases)
            message = f"no prompt '{mention.value}' in the language '{flow.language}': {hint}"
            yield flow.document.at(("nodes", node, *mention.path), message)


def _check_languages(flow: Flow, flows: FlowSet) -> Iterator[Problem]:
    """A call keeps its language: texts of a flow in another one would not be heard."""
    for node, mention in references(flow, Kind.FLOW):
        other = flows.get(mention.value)
        if other is not None and flow.language and other.language not in ("", flow.language):
            message = (
                f"the flow '{other.name}' is in the language '{other.language}' and this one in "
                f"'{flow.language}': callers keep the language they began with"
            )
            yield flow.document.at(("nodes", node, *mention.path), message)


def _check_loops(flows: FlowSet) -> Iterator[Problem]:
    """Loops that a goto to a flow closes; those without one are reported with the flow itself."""
    jumps: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    graph: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for flow in flows.values():
        for name, node in flow.nodes.items():
            graph[flow.name, name] = [(flow.name, target) for target in hasty(node)]
            other = flows.get(node.jump() or "")
            if other is not None:
                start = (other.name, other.start)
                graph[flow.name, name].append(start)
                jumps.add(((flow.name, name), start))
    for loop in loops(graph):
        if any(edge in jumps for edge in pairwise([*loop, loop[0]])):
            shown = " -> ".join(f"{flow}.{node}" for flow, node in [*loop, loop[0]])
            message = f"the loop {shown} never waits for the caller"
            yield flows[loop[0][0]].document.at(("nodes", loop[0][1]), message, key=True)
