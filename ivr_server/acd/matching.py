"""Who is offered to whom, decided from a snapshot of queues, waiting callers and agents.

Callers are served by queue weight, then priority (higher first), then age. For each caller the
queue's strategy orders the agents who may take the call. An agent who just missed a caller is asked
again only when nobody else can take the call.

Pure: a function of the snapshot and `now`; somebody else rings the phones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ivr_server.acd import strategies
from ivr_server.acd.agents import Agent
from ivr_server.acd.settings import QueueSettings


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One caller in one queue. `enqueued` is monotonic seconds; `number` breaks ties."""

    visit_id: str
    queue: str
    priority: int
    enqueued: float
    number: int
    ringing: bool = False  # an offer for this caller is out


@dataclass(frozen=True)
class Match:
    """Offer this agent's phone to this caller."""

    visit_id: str
    agent: str


def order(waiting: Sequence[Waiting], queues: Mapping[str, QueueSettings]) -> list[Waiting]:
    """All waiting callers in the order they are served."""
    return sorted(
        waiting,
        key=lambda one: (-queues[one.queue].weight, -one.priority, one.enqueued, one.number),
    )


def place(visit_id: str, waiting: Sequence[Waiting], queues: Mapping[str, QueueSettings]) -> int:
    """The caller's place in the own queue, 1 = next. Raises KeyError if it does not wait."""
    queue = next((one.queue for one in waiting if one.visit_id == visit_id), None)
    if queue is None:
        raise KeyError(visit_id)
    same = [one for one in order(waiting, queues) if one.queue == queue]
    return next(index for index, one in enumerate(same, 1) if one.visit_id == visit_id)


def ahead(
    visit_id: str,
    waiting: Sequence[Waiting],
    queues: Mapping[str, QueueSettings],
    serve: Iterable[tuple[str, ...]],
) -> float:
    """How many callers will be served before this one by agents who could serve this one.

    `serve`: the queues of each agent at work. A caller of another queue who comes first counts by
    the share of its agents who also serve this queue. One whose phone rings has an agent already.
    Raises KeyError for a caller who does not wait.
    """
    queue = next((one.queue for one in waiting if one.visit_id == visit_id), None)
    if queue is None:
        raise KeyError(visit_id)
    able: Counter[str] = Counter()
    able_here_too: Counter[str] = Counter()
    for served in serve:
        able.update(served)
        if queue in served:
            able_here_too.update(served)
    found = 0.0
    for one in order(waiting, queues):
        if one.visit_id == visit_id:
            break
        if not one.ringing and able[one.queue]:
            found += able_here_too[one.queue] / able[one.queue]
    return found


def match(
    waiting: Sequence[Waiting],
    agents: Sequence[Agent],
    queues: Mapping[str, QueueSettings],
    now: float,
) -> list[Match]:
    """The offers to make now. No agent and no caller appears twice."""
    free = {agent.name: agent for agent in agents if agent.available(now)}
    matches: list[Match] = []
    for caller in order(waiting, queues):
        if not free:
            break
        if caller.ringing:
            continue
        able = [agent for agent in free.values() if caller.queue in agent.settings.queues]
        if not able:
            continue
        ranked = strategies.find(queues[caller.queue].strategy)(able, now)
        ranked.sort(key=lambda agent: agent.last_refused == caller.visit_id)
        matches.append(Match(caller.visit_id, ranked[0].name))
        del free[ranked[0].name]
    return matches


def next_change(agents: Sequence[Agent], now: float) -> float | None:
    """When an agent's rest ends, i.e. the next moment `match` may answer differently by itself."""
    ends = [agent.not_before for agent in agents if agent.not_before > now]
    return min(ends, default=None)
