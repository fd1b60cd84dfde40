"""The JSON Schema of flow files, for editors that complete and check while typing."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from ivr_server.flow.nodes import kinds
from ivr_server.flow.spec import Head


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a flow file, made from the same models that read it."""
    nodes = kinds()
    models = [(model, "validation") for model in (Head, *nodes.values())]
    refs, whole = models_json_schema(models, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = whole["$defs"]
    head = definitions.pop(Head.__name__)
    head["properties"]["nodes"]["additionalProperties"] = {
        "type": "object",
        "discriminator": {"propertyName": "type"},
        "oneOf": [refs[model, "validation"] for model in nodes.values()],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Flow",
        "$defs": definitions,
        **head,
    }
