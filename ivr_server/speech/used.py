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
    found: dict[tuple[str, Utterance], None] = {}
    for flow in flows.values():
        for node in flow.nodes.values():
            for phrase in _phrases(node):
                if phrase.prompt is not None:
                    found[flow.language, Prompt(phrase.prompt)] = None
                elif phrase.text is not None:
                    found[flow.language, Text(phrase.text)] = None
    return list(found)


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
