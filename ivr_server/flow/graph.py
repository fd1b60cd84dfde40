"""A flow as a Mermaid diagram, drawn from the wiring that the engine walks."""

from __future__ import annotations

from ivr_server.flow.spec import Flow

_SHAPES = {"menu": "{{}}", "collect": "{{}}", "branch": "{}", "queue": "[[]]", "hangup": "([])"}


def mermaid(flow: Flow) -> str:
    """Mermaid text: an arrow for each outcome, those that lead to one node joined."""
    ids = {name: f"n{number}" for number, name in enumerate(flow.nodes)}
    lines = ["flowchart TD", f"  start(({_text(flow.name)})) --> {ids.get(flow.start, 'start')}"]
    for name, node in flow.nodes.items():
        shape = _SHAPES.get(node.type, "[]")
        left, right = shape[: len(shape) // 2], shape[len(shape) // 2 :]
        lines.append(f"  {ids[name]}{left}{_text(f'{name}<br/>{node.type}')}{right}")
    for name, wires in flow.wires.items():
        outcomes: dict[str, list[str]] = {}
        for outcome, target in wires.items():
            outcomes.setdefault(target, []).append(outcome)
        for target, labels in outcomes.items():
            label = "" if labels == ["done"] else f"|{_text(', '.join(labels))}|"
            lines.append(f"  {ids[name]} -->{label} {ids.get(target, 'start')}")
        jump = flow.nodes[name].jump()
        if jump is not None:
            lines.append(f"  {ids[name]} --> {ids[name]}x(({_text(f'flow {jump}')}))")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return '"' + text.replace('"', "#quot;") + '"'
