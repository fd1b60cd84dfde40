"""`python -m benchmarks.shared_agents`: the estimate where queues share agents, as a table.

Simulates queues whose agents serve several of them, routed by the service's own `acd.matching`, and
scores two ways of counting on the same callers: the service's (competing callers ahead, agents
whole) and the textbook's (callers ahead in the own queue, each agent divided by its queues).
Root mean square error over the mean wait, of callers who were served after a wait.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, replace
from math import sqrt

from rich.console import Console
from rich.table import Table

from ivr_server.acd import estimate, matching
from ivr_server.acd.agents import Agent, AgentEvent
from ivr_server.acd.settings import AgentSettings, QueueSettings

HANDLING_S, PATIENCE_S = 180.0, 900.0
DAY_S = 8 * 3600.0


@dataclass(frozen=True)
class Scenario:
    """Queues with their arrivals per hour, and the queues of each agent."""

    name: str
    queues: dict[str, QueueSettings]
    per_hour: dict[str, float]
    serve: list[tuple[str, ...]]


def queue(name: str, weight: int = 0) -> QueueSettings:
    return QueueSettings(name=name, weight=weight)


A, B = ("a",), ("b",)
SCENARIOS = [
    Scenario("one busy, one quiet queue, all agents serve both", {"a": queue("a"), "b": queue("b")},
             {"a": 180, "b": 20}, [A + B] * 10),
    Scenario("two equal queues, all agents serve both", {"a": queue("a"), "b": queue("b")},
             {"a": 100, "b": 100}, [A + B] * 10),
    Scenario("half of the agents serve both", {"a": queue("a"), "b": queue("b")},
             {"a": 120, "b": 75}, [A] * 5 + [A + B] * 5),
    Scenario("b goes first by weight", {"a": queue("a"), "b": queue("b", 1)},
             {"a": 120, "b": 80}, [A + B] * 10),
]  # fmt: skip


@dataclass
class _Wait:
    since: float
    service: float | None
    textbook: float | None


def simulate(scenario: Scenario, seed: int) -> list[tuple[str, float, float, float]]:
    """One day: queue, actual wait, and the two estimates of every served caller who waited."""
    chance = random.Random(seed)
    numbers = itertools.count()
    agents = {
        f"agent{n}": Agent(
            settings=AgentSettings(name=f"agent{n}", display="", endpoint="", queues=queues)
        ).after(AgentEvent.LOGIN, 0.0)
        for n, queues in enumerate(scenario.serve)
    }
    waiting: dict[str, matching.Waiting] = {}
    told: dict[str, _Wait] = {}
    abandoned = waited_s = 0.0
    scored: list[tuple[str, float, float, float]] = []
    events: list[tuple[float, int, str, str]] = []

    def later(at_s: float, kind: str, what: str) -> None:
        heapq.heappush(events, (at_s, next(numbers), kind, what))

    for name, rate in scenario.per_hour.items():
        later(chance.expovariate(rate / 3600), "arrives", name)
    while events:
        now, number, kind, what = heapq.heappop(events)
        if kind == "arrives" and now < DAY_S:
            later(now + chance.expovariate(scenario.per_hour[what] / 3600), "arrives", what)
            one = matching.Waiting(
                visit_id=str(number), queue=what, priority=0, enqueued=now, number=number
            )
            waiting[one.visit_id] = one
            everybody = list(waiting.values())
            rate = abandoned / waited_s if waited_s else 0.0
            ahead = matching.ahead(one.visit_id, everybody, scenario.queues, scenario.serve)
            place = matching.place(one.visit_id, everybody, scenario.queues)
            share = sum(1 / len(queues) for queues in scenario.serve if what in queues)
            whole = sum(what in queues for queues in scenario.serve)
            told[one.visit_id] = _Wait(
                now,
                estimate.qlm(ahead, whole, HANDLING_S, rate),
                estimate.qlm(place - 1, share, HANDLING_S, rate),
            )
            later(now + chance.expovariate(1 / PATIENCE_S), "leaves", one.visit_id)
        elif kind == "leaves" and waiting.pop(what, None) is not None:
            abandoned += 1
            waited_s += now - told[what].since
        elif kind == "free":
            agents[what] = (
                agents[what].after(AgentEvent.RELEASE, now).after(AgentEvent.WRAPPED, now)
            )
        for found in matching.match(
            list(waiting.values()), list(agents.values()), scenario.queues, now
        ):
            one, told_then = waiting.pop(found.visit_id), told[found.visit_id]
            waited_s += now - one.enqueued
            if now > one.enqueued:
                assert told_then.service is not None
                assert told_then.textbook is not None
                scored.append(
                    (one.queue, now - one.enqueued, told_then.service, told_then.textbook)
                )
            agent = agents[found.agent].after(AgentEvent.OFFER, now)
            agents[found.agent] = replace(agent.after(AgentEvent.ANSWER, now))
            later(now + chance.expovariate(1 / HANDLING_S), "free", found.agent)
    return scored


def main() -> None:
    """Twenty days of each scenario, scored."""
    table = Table(title="error of the estimate (RMSE / mean wait), callers who waited")
    for column in ("scenario", "queue", "callers", "mean wait s", "ivr-server", "textbook"):
        table.add_column(column, justify="left" if column in ("scenario", "queue") else "right")
    for scenario in SCENARIOS:
        days = [one for seed in range(20) for one in simulate(scenario, seed)]
        for name in scenario.queues:
            rows = [one for one in days if one[0] == name]
            mean = sum(one[1] for one in rows) / len(rows)
            service = sqrt(sum((one[1] - one[2]) ** 2 for one in rows) / len(rows)) / mean
            textbook = sqrt(sum((one[1] - one[3]) ** 2 for one in rows) / len(rows)) / mean
            table.add_row(
                scenario.name,
                name,
                str(len(rows)),
                f"{mean:.0f}",
                f"{service:.0%}",
                f"{textbook:.0%}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
