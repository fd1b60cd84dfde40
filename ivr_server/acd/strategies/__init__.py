"""Routing strategies, one file each, found by file name.

A strategy is a function `rank(agents, now) -> list[Agent]`: all of the given agents, best first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from ivr_server.acd.agents import Agent

Strategy = Callable[[Sequence[Agent], float], list[Agent]]


@cache
def names() -> frozenset[str]:
    """The strategies there are."""
    return frozenset(module.name for module in iter_modules(__path__))


@cache
def find(name: str) -> Strategy:
    """The strategy of that name. Raises KeyError."""
    if name not in names():
        raise KeyError(name)
    return cast(Strategy, import_module(f"{__name__}.{name}").rank)
