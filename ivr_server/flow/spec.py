"""A flow: read from YAML, typed, wired and checked as far as one file can be.

    flow: demo                    # the name that numbers and other flows use
    language: ru                  # of its prompts
    start: greeting
    variables:
      order: {type: string}
    nodes:
      greeting: {type: play, prompt: welcome, next: main_menu}
      ...

Nodes are read one by one, so that a mistake in one does not hide those in the others. What needs
the rest of the site (queues, prompts, other flows) is checked by check.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
)

from ivr_server.errors import ConfigError, Problem, nearest
from ivr_server.flow import wiring
from ivr_server.flow.document import Document, parse
from ivr_server.flow.expressions import (
    RESERVED,
    BadExpression,
    Expression,
    Names,
    Value,
    VarType,
)
from ivr_server.flow.fields import (
    Computed,
    Kind,
    Language,
    Name,
    NewVariable,
    Refers,
    Section,
    mentions,
)
from ivr_server.flow.node import Node
from ivr_server.flow.nodes import kinds
from ivr_server.flow.salvage import salvaged
from ivr_server.flow.yamltext import Step


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise ValueError("a default is a text, a number, true or false")
    return value


class Variable(Section):
    """A value kept during the call."""

    type: Literal["string", "int", "bool", "double"] = Field(description="Its type, as in CEL.")
    default: Annotated[Any, BeforeValidator(_scalar)] = Field(
        None, description="Its value at the start; empty, 0 or false if absent."
    )


class Head(Section):
    """A flow file; its nodes are validated one by one."""

    flow: Name = Field(description="The name of the flow.", examples=["demo"])
    language: Language = Field(description="The language of its prompts.", examples=["ru", "en"])
    start: Name = Field(description="The first node.", examples=["greeting"])
    variables: dict[NewVariable, Variable] = Field(
        default_factory=dict, description="Values kept during the call."
    )
    nodes: dict[Name, Any] = Field(min_length=1, description="The steps of the flow, by name.")


class _RoughNode(Node):
    """What can be said of a node whose type is not known."""

    model_config = ConfigDict(extra="ignore")

    type: Any = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Flow:
    """A voice menu. With `problems` it must not take calls; its parts are what could be read."""

    name: str
    language: str
    start: str
    version: str  # the first 12 hex digits of the source's SHA-256
    source: str
    file: str
    document: Document = field(repr=False)
    variables: Mapping[str, VarType] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    wires: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    waits: Mapping[str, frozenset[str]] = field(default_factory=dict)
    expressions: Mapping[str, Expression] = field(default_factory=dict, repr=False)
    problems: tuple[Problem, ...] = ()

    def fitting(self, variables: Mapping[str, Any]) -> dict[str, Value]:
        """Values for all variables of the flow: those given where they fit, else the defaults."""
        return {
            name: variables[name] if kind.fits(variables.get(name)) else self.defaults[name]
            for name, kind in self.variables.items()
        }


class FlowSet(Mapping[str, Flow]):
    """Flows by name; a reload makes a new one.

    `problems`: two files with one name, and all mistakes of the second.
    """

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        self._flows: dict[str, Flow] = {}
        self.problems: tuple[Problem, ...] = ()
        for flow in flows:
            first = self._flows.setdefault(flow.name or f"({flow.file})", flow)
            if first is not flow:
                message = f"the flow '{flow.name}' is in {first.file} already"
                self.problems += (flow.document.at(("flow",), message), *flow.problems)

    def __getitem__(self, name: str) -> Flow:
        return self._flows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._flows)

    def __len__(self) -> int:
        return len(self._flows)


def load(text: str, file: str) -> Flow:
    """The flow, fit to take calls. Raises ConfigError with all problems of the file."""
    flow = examine(text, file)
    if flow.problems:
        raise ConfigError(flow.problems)
    return flow


def examine(text: str, file: str) -> Flow:
    """The flow as far as it can be read, with all problems of the file. Never raises."""
    document = parse(text, file)
    version = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    head: Head | None = None
    problems = list(document.problems)
    if not document.broken:
        head, found, _ = salvaged(document, Head, ())
        problems += found
    if head is None:
        return Flow(
            name="",
            language="",
            start="",
            version=version,
            source=text,
            file=file,
            document=document,
            problems=tuple(sorted(set(problems))),
        )
    reading = _Reading(document, head)
    made = wiring.wiring(reading.nodes)
    problems += reading.problems
    problems += wiring.check_edges(document, reading.nodes, reading.partial)
    problems += wiring.check_reach(document, reading.nodes, reading.partial, head.start or "")
    problems += wiring.check_loops(document, reading.nodes, reading.partial)
    return Flow(
        name=head.flow or "",
        language=head.language or "",
        start=head.start or "",
        version=version,
        source=text,
        file=file,
        document=document,
        variables=reading.variables,
        defaults=reading.defaults,
        nodes=reading.nodes,
        wires=made.wires,
        waits=made.waits,
        expressions=reading.expressions,
        problems=tuple(sorted(set(problems))),
    )


class _Reading:
    """The nodes and variables of a document, read as far as they can be."""

    def __init__(self, document: Document, head: Head) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.variables: dict[str, VarType] = {}
        self.defaults: dict[str, Value] = {}
        self.nodes: dict[str, Node] = {}
        self.partial: set[str] = set()
        self.expressions: dict[str, Expression] = {}
        self._faulty: dict[str, BadExpression] = {}
        self._mentioned: set[str] = set()
        known = wiring.written(document)
        declared = document.data.get("variables")
        self._declared = set(declared) if isinstance(declared, dict) else set()
        for name, variable in head.variables.items():
            self._variable(name, variable)
        self._names = Names(self.variables, untyped=self._declared - self.variables.keys())
        for name in known:
            self._node(name)
        if head.start and known and head.start not in known:
            message = f"no node '{head.start}': {nearest(head.start, known)}"
            self.problems.append(document.at(("start",), message))
        for name, node in self.nodes.items():
            self._check(name, node)
        self._check_unused()

    def expression(self, source: str) -> Expression | None:
        if source not in self.expressions and source not in self._faulty:
            try:
                self.expressions[source] = self._names.compile(source)
            except BadExpression as error:
                self._faulty[source] = error
        return self.expressions.get(source)

    def _variable(self, name: str, variable: Variable) -> None:
        if name in RESERVED:
            message = f"'{name}' means something in CEL already: choose another name"
            self.problems.append(self.document.at(("variables", name), message, key=True))
            return
        kind = VarType(variable.type)
        self.variables[name] = kind
        value = kind.default if variable.default is None else variable.default
        if kind is VarType.DOUBLE and type(value) is int:
            value = float(value)
        if not kind.fits(value):
            message = f"this is no {kind}: {variable.default!r}"
            self.problems.append(self.document.at(("variables", name, "default"), message))
            value = kind.default
        self.defaults[name] = value

    def _node(self, name: str) -> None:
        path = ("nodes", name)
        data = self.document.spot(path).value
        if not isinstance(data, dict):
            message = f"expected the lines of a node, such as 'type: play', for '{name}'"
            self.problems.append(self.document.at(path, message, key=True))
            return
        kind = data.get("type")
        model = kinds().get(kind) if isinstance(kind, str) else None
        if model is None:
            if "type" in data:
                message = f"unknown type '{kind}': {nearest(str(kind), kinds())}"
            else:
                message = f"'type' is missing: {nearest('', kinds())}"
            self.problems.append(
                self.document.at((*path, "type") if "type" in data else path, message,
                                 key="type" not in data)
            )  # fmt: skip
        node, problems, whole = salvaged(self.document, model or _RoughNode, path)
        if model is not None:
            self.problems += problems
        if node is not None:
            self.nodes[name] = node
        if not whole or model is None:
            self.partial.add(name)

    def _check(self, name: str, node: Node) -> None:
        for mention in mentions(node):
            path = ("nodes", name, *mention.path)
            if isinstance(mention.mark, Computed):
                self._check_expression(path, mention.value, mention.mark.wants)
            elif mention.mark == Refers(Kind.VARIABLE):
                self._mentioned.add(mention.value)
                # One with a reserved name is declared, and reported there.
                if mention.value not in self._declared:
                    hint = nearest(mention.value, self.variables)
                    message = f"no variable '{mention.value}' under 'variables': {hint}"
                    self.problems.append(self.document.at(path, message, key=mention.is_key))
        if name not in self.partial:
            for finding in node.findings(self):
                path = ("nodes", name, *finding.path)
                self.problems.append(self.document.at(path, finding.message, key=finding.at_key))

    def _check_expression(
        self, path: tuple[Step, ...], source: str, wants: tuple[str, ...]
    ) -> None:
        self._mentioned.update(re.findall(r"[a-z_][a-z0-9_]*", source))
        expression = self.expression(source)
        if expression is None:
            self.problems += [
                self.document.inside(path, fault.line, fault.column, fault.message)
                for fault in self._faulty[source].faults
            ]
        elif wants and expression.type not in (*wants, "dyn"):
            message = f"expected {' or '.join(wants)}, but this is {expression.type}"
            self.problems.append(self.document.at(path, message))

    def _check_unused(self) -> None:
        """Any word of a broken node may have been meant as the variable."""
        words = {
            word
            for name, data in wiring.written(self.document).items()
            if name in self.partial or name not in self.nodes
            for word in re.findall(r"[a-z_][a-z0-9_]*", str(data))
        }
        for name in self.variables.keys() - self._mentioned - words:
            message = f"nothing uses the variable '{name}'"
            self.problems.append(self.document.at(("variables", name), message, key=True))
