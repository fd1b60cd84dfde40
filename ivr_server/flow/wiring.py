"""The graph of a flow: which outcome leads where, and what is wrong with that.

Works on nodes and their edges alone: unknown targets and outcomes, outcomes with nowhere to go,
nodes that nothing leads to, loops that never wait for the caller. Knows no node type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from ivr_server.errors import Problem, nearest
from ivr_server.flow.document import Document
from ivr_server.flow.node import Node

V = TypeVar("V", bound=Hashable)


@dataclass(frozen=True)
class Wiring:
    """For each node: the next node by outcome, and the outcomes that took the caller's time."""

    wires: Mapping[str, Mapping[str, str]]
    waits: Mapping[str, frozenset[str]]


def wiring(nodes: Mapping[str, Node]) -> Wiring:
    """The wiring of nodes; of two wires for one outcome the first counts."""
    wires: dict[str, dict[str, str]] = {}
    for name, node in nodes.items():
        wires[name] = {}
        for edge in node.edges():
            wires[name].setdefault(edge.outcome, edge.target)
    waits = {
        name: frozenset(outcome.name for outcome in node.outcomes() if outcome.waits)
        for name, node in nodes.items()
    }
    return Wiring(wires, waits)


def written(document: Document) -> Mapping[str, Any]:
    """The nodes as they stand in the file, readable or not."""
    nodes = document.data.get("nodes")
    return nodes if isinstance(nodes, dict) else {}


def check_edges(document: Document, nodes: Mapping[str, Node], partial: Set[str]) -> list[Problem]:
    """Mistakes of single nodes. `partial` nodes were not read whole: nothing is missed in them."""
    known = written(document)
    return [
        problem
        for name, node in nodes.items()
        for problem in _check_node(document, name, node, known, name in partial)
    ]


def _check_node(
    document: Document, name: str, node: Node, known: Iterable[str], partial: bool
) -> Iterator[Problem]:
    outcomes = {outcome.name: outcome for outcome in node.outcomes()}
    wired: dict[str, str] = {}
    for edge in node.edges():
        path = ("nodes", name, *edge.path)
        if edge.outcome not in outcomes and not partial:
            yield document.at(path, _no_such_outcome(node, edge.outcome, outcomes), key=True)
        elif edge.outcome in wired:
            message = f"'{edge.outcome}' leads to '{wired[edge.outcome]}' already"
            yield document.at(path, message, key=True)
        wired.setdefault(edge.outcome, edge.target)
        if edge.target not in known:
            yield document.at(path, f"no node '{edge.target}': {nearest(edge.target, known)}")
    for outcome in outcomes.values():
        if outcome.required and outcome.name not in wired and not partial:
            message = f"the outcome '{outcome.name}' of '{name}' has nowhere to go"
            yield document.at(("nodes", name), message, key=True)


def _no_such_outcome(node: Node, outcome: str, outcomes: Mapping[str, Any]) -> str:
    if not outcomes:
        return f"nothing follows a {node.type} node"
    if outcome == "done":
        return f"a {node.type} node has no 'next'; its outcomes: {', '.join(outcomes)}"
    return f"a {node.type} node has no outcome '{outcome}': {nearest(outcome, outcomes)}"


def check_reach(
    document: Document, nodes: Mapping[str, Node], partial: Set[str], start: str
) -> list[Problem]:
    """Nodes that no way from the start leads to."""
    known = written(document)
    if start not in known:
        return []
    leads: dict[str, set[str]] = {}
    for name in known:
        if name in partial or name not in nodes:
            leads[name] = {text for text in _texts(known[name]) if text in known}
            continue
        targets = {edge.target for edge in nodes[name].edges()}
        # A misspelt target is reported; what it was meant for must not be reported as well.
        meant = (get_close_matches(one, known, n=1) for one in targets - known.keys())
        leads[name] = (targets & known.keys()).union(*meant)
    reached = _reached(leads, [start])
    lost = [name for name in known if name not in reached]
    # Of nodes that hang together only the first is named: when it is mended, so are the others.
    ways_in = Counter(target for name in lost for target in leads[name])
    named: list[str] = []
    found: set[str] = set()
    for name in sorted(lost, key=ways_in.__getitem__):
        if name not in found:
            named.append(name)
            found |= _reached(leads, [name])
    return [
        document.at(("nodes", name), f"nothing leads to the node '{name}'", key=True)
        for name in known
        if name in named
    ]


def _reached(leads: Mapping[str, Set[str]], starts: Iterable[str]) -> set[str]:
    seen, ahead = set(starts), list(starts)
    while ahead:
        more = leads[ahead.pop()] - seen
        seen |= more
        ahead.extend(more)
    return seen


def _texts(value: Any) -> Iterator[str]:
    """Every text in a node that could not be read: any of them may name the next node."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def check_loops(document: Document, nodes: Mapping[str, Node], partial: Set[str]) -> list[Problem]:
    """Loops in which the caller is never waited for."""
    whole = {name: node for name, node in nodes.items() if name not in partial}
    graph = {name: hasty(node) for name, node in whole.items()}
    return [
        document.at(
            ("nodes", loop[0]),
            f"the loop {' -> '.join([*loop, loop[0]])} never waits for the caller",
            key=True,
        )
        for loop in loops(graph)
    ]


def hasty(node: Node) -> list[str]:
    """Where a node may lead without having waited for the caller."""
    quick = {outcome.name for outcome in node.outcomes() if not outcome.waits}
    return [edge.target for edge in node.edges() if edge.outcome in quick]


def loops(graph: Mapping[V, Sequence[V]]) -> list[list[V]]:
    """One loop for each strongly connected part of a graph, in the order of the graph.

    Tarjan's algorithm without recursion gives the parts; the shortest way from the first vertex
    of a part back to itself is its loop.
    """
    order = {vertex: place for place, vertex in enumerate(graph)}
    index: dict[V, int] = {}
    low: dict[V, int] = {}
    stack: list[V] = []
    on_stack: set[V] = set()
    found: list[list[V]] = []
    for root in graph:
        if root in index:
            continue
        work: list[tuple[V, Iterator[V]]] = []

        def visit(vertex: V, work: list[tuple[V, Iterator[V]]] = work) -> None:
            index[vertex] = low[vertex] = len(index)
            stack.append(vertex)
            on_stack.add(vertex)
            work.append((vertex, iter([to for to in graph[vertex] if to in graph])))

        visit(root)
        while work:
            vertex, ways = work[-1]
            for to in ways:
                if to not in index:
                    visit(to)
                    break
                if to in on_stack:
                    low[vertex] = min(low[vertex], index[to])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[vertex])
                if low[vertex] == index[vertex]:
                    cut = stack.index(vertex)
                    part = stack[cut:]
                    del stack[cut:]
                    on_stack.difference_update(part)
                    if len(part) > 1 or vertex in graph[vertex]:
                        found.append(_loop(graph, part, min(part, key=order.__getitem__)))
    return sorted(found, key=lambda loop: order[loop[0]])


def _loop(graph: Mapping[V, Sequence[V]], part: Sequence[V], first: V) -> list[V]:
    came_from: dict[V, V] = {}
    inside, ahead = set(part), [first]
    for vertex in ahead:
        for to in graph[vertex]:
            if to == first:
                way = [vertex]
                while way[-1] != first:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if to in inside and to not in came_from:
                came_from[to] = vertex
                ahead.append(to)
    return [first]
