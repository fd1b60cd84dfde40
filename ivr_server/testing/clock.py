"""An event loop whose time is virtual: when nothing is ready, it is at once the next timer's time.

So a test of an hour in a queue takes a millisecond, and times in it are exact. A loop with nothing
ready and no timer would wait for ever: that is reported, with the tasks that wait. No threads and
no sockets here: nobody but a timer can wake a virtual loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST_S = 7 * 86400.0  # a scenario that is not over by then goes round in circles


class Stuck(Exception):
    """The scenario waits for something that nobody will do, or never comes to its end."""


class _Selector(selectors.SelectSelector):
    """Does not wait: tells how long it would have waited."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("nothing is ready and no timer is set")
            self.waited_s += timeout
            if self.waited_s > LONGEST_S:
                raise Stuck(f"still not over after {LONGEST_S:g} s of virtual time")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0 s."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.waited_s


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario to its end in a loop of its own. Raises Stuck, naming the tasks that wait."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        try:
            return runner.run(scenario)
        except Stuck as stuck:
            waiting = [str(task.get_coro()) for task in asyncio.all_tasks(runner.get_loop())]
            raise Stuck(f"{stuck}; {len(waiting)} tasks wait: {', '.join(waiting)}") from None


def now_s() -> float:
    """Seconds since the scenario began."""
    return asyncio.get_running_loop().time()
