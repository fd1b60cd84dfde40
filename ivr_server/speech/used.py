"""Everything that a set of flows can say in fixed words, so that it can be rendered ahead.

Looks for phrases in any field of any node; knows no node type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ivr_server.flow.fields import Phrase, Section
from ivr_server.flow.ports import Prompt, Text, Utterance
from ivr_server.flow.spec import Flow


def utterances(flows: Mapping[str, Flow]) -> list[tuple[str, Utterance]]:
    """Language and utterance of every prompt and literal text of these flows, each once."""
    return list(dict.fromkeys((language, what) for language, what, _ in uses(flows)))


def uses(flows: Mapping[str, Flow]) -> Iterator[tuple[str, Utterance, str]]:
    """Language, utterance and place (flow.node) of every prompt and literal text."""
    for flow in flows.values():
        for name, node in flow.nodes.items():
            for phrase in (*_phrases(node), *node.says()):
                place = f"{flow.name}.{name}"
                if phrase.prompt is not None:
                    yield flow.language, Prompt(phrase.prompt), place
                elif phrase.text is not None:
                    yield flow.language, Text(phrase.text), place


def _phrases(value: Any) -> Iterator[Phrase]:
    if isinstance(value, Phrase):
        yield value
    elif isinstance(value, Section):
        for name in type(value).model_fields:
            yield from _phrases(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _phrases(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _phrases(item)
