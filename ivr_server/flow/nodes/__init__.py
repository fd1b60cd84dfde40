"""The node types, found by file name: `menu.py` holds the node whose `type` is `menu`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ivr_server.flow.node import Node


@cache
def kinds() -> dict[str, type[Node]]:
    """Every node type by name."""
    found: dict[str, type[Node]] = {}
    for entry in iter_modules(__path__):
        module = import_module(f"{__name__}.{entry.name}")
        classes = [
            item
            for item in vars(module).values()
            if isinstance(item, type)
            and issubclass(item, Node)
            and item.__module__ == module.__name__
        ]
        if len(classes) != 1:
            raise TypeError(f"{module.__name__} must define exactly one node, not {len(classes)}")
        found[entry.name] = classes[0]
    return found
