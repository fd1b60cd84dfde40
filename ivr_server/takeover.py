"""After a restart: the journal's open calls joined with what Asterisk still holds.

A caller who talks goes on talking and is only listened to; one who waits keeps place and elapsed
wait; one in a menu hears the current node again. What is gone from Asterisk is closed in the
record. Channels of ours that no story knows are not left behind.

Decides (`plan`, a function of journal and Asterisk's lists) apart from doing; `app` does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ivr_server import facts
from ivr_server.asterisk.events import BridgeInfo, ChannelInfo
from ivr_server.call import TAKEN_OVER
from ivr_server.storage.journal import OpenCall

_NO_OUTCOMES = {TAKEN_OVER, "caller_gone", "failed"}  # ends of steps that lead nowhere


@dataclass(frozen=True, kw_only=True)
class Continued:
    """A call whose caller is still there."""

    call: OpenCall
    position: facts.Position
    channel: ChannelInfo
    variables: Mapping[str, Any]
    outcome: str | None = None  # the node had ended so; the flow goes on behind it
    visit: facts.Visit | None = None  # set while waiting or talking
    agent_leg: facts.Leg | None = None  # set while talking: the leg in the caller's bridge
    talk_over: bool = False  # the talk ended while nobody listened
    bridge_id: str = ""  # the bridge the caller is in, alone or not


@dataclass(kw_only=True)
class Plan:
    """What to do about the calls of the service before us."""

    continued: list[Continued] = field(default_factory=list)
    closed: list[facts.Fact] = field(default_factory=list)  # rows of what is over
    over: list[OpenCall] = field(default_factory=list)  # calls without a caller
    hang_up: list[str] = field(default_factory=list)  # channels nobody will want
    destroy: list[str] = field(default_factory=list)  # bridges nobody is in any more
    unknown: list[ChannelInfo] = field(default_factory=list)  # arrived, but nothing was written


def plan(
    calls: Mapping[str, OpenCall],
    channels: Mapping[str, ChannelInfo],
    bridges: Mapping[str, BridgeInfo],
    ours: set[str],
    now: datetime,
) -> Plan:
    """`channels` and `bridges` are all that Asterisk has, `ours` the channels in our
    application."""
    made = Plan()
    wanted: set[str] = set()
    wanted_bridges: set[str] = set()
    for call in calls.values():
        position = call.position
        channel = channels.get(position.channel_id) if position is not None else None
        here = channel is not None and channel.id in ours
        # A caller whose leg was not written yet has heard nothing and arrives anew: `unknown`.
        begun = channel is not None and channel.id in call.legs
        if position is None or channel is None or not here or not begun or call.call.ended_at:
            _close(made, call, now, keep=set())
            made.over.append(call)
            continue
        leg = call.legs.get(position.agent_leg_id or "")
        bridge = bridges.get(position.bridge_id or "")
        talking = (
            bridge is not None
            and leg is not None
            and leg.leg_id in channels  # the two lists were not made in the same moment
            and {channel.id, leg.leg_id} <= set(bridge.channels)
        )
        visit = call.visits.get(position.visit_id or "")
        if visit is not None and visit.ended_at is not None and visit.answered_at is None:
            visit, talking = None, False  # it had left the queue; the flow had not gone on yet
        if bridge is not None and talking:
            wanted_bridges.add(bridge.id)
        if visit is not None and talking and leg is not None and visit.answered_at is None:
            visit = replace(
                visit,
                answered_at=now,
                ended_at=now,
                end_reason=facts.VisitEnd.ANSWERED,
                agent=leg.agent,
            )
            made.closed.append(visit)
        talked = position.connected
        if visit is not None:
            talked = visit.answered_at is not None
        outcome, values = _left(call.steps, position)
        talk_over = talked and not talking
        kept = leg if talking else None
        keep = {channel.id} | ({kept.leg_id} if kept is not None else set())
        wanted |= keep
        _close(made, call, now, keep=keep, visit_id=visit.visit_id if visit else None)
        if visit is not None and talked and not talking:
            made.closed.append(replace(visit, released_at=visit.released_at or now))
        made.continued.append(
            Continued(
                call=call,
                position=position,
                channel=channel,
                variables={**position.variables, **values},
                outcome=outcome,
                visit=visit if talking or not talked else None,
                agent_leg=kept,
                talk_over=talk_over and outcome is None,
                bridge_id=next(
                    (one.id for one in bridges.values() if channel.id in one.channels), ""
                ),
            )
        )
    known = {leg_id for call in calls.values() for leg_id in call.legs}
    # A caller's channel that has left our application is in the dialplan's hands: the fallback.
    rung = {
        leg_id
        for call in calls.values()
        for leg_id, leg in call.legs.items()
        if leg.kind is not facts.LegKind.CALLER
    }
    made.hang_up = [
        one for one in channels if one not in wanted and (one in rung or one in (known & ours))
    ]
    made.unknown = [channels[one] for one in ours if one in channels and one not in known]
    bridges_known = {
        call.position.bridge_id for call in calls.values() if call.position is not None
    }
    inhabited = {found.bridge_id for found in made.continued}  # their callers leave them first
    made.destroy = [
        one
        for one in bridges
        if one in bridges_known and one not in wanted_bridges and one not in inhabited
    ]
    return made


def _left(step: facts.Step | None, position: facts.Position) -> tuple[str | None, dict[str, Any]]:
    """The outcome of the node of the position and what it changed, if it had ended already."""
    if step is None or step.number != position.step or step.outcome in (None, *_NO_OUTCOMES):
        return None, {}
    return step.outcome, step.detail.get("values", {})


def _close(
    made: Plan, call: OpenCall, now: datetime, *, keep: set[str], visit_id: str | None = None
) -> None:
    """Close the rows of this call that are about something that is no more."""
    for offer in call.offers.values():
        if offer.ended_at is None:
            taken = offer.leg_id in keep
            end = facts.OfferEnd.ANSWERED if taken else facts.OfferEnd.CANCELLED
            made.closed.append(replace(offer, ended_at=now, end_reason=end))
        elif offer.end_reason is facts.OfferEnd.ANSWERED and offer.leg_id not in keep:
            visit = call.visits.get(offer.visit_id)
            if visit is not None and visit.answered_at is None:
                made.closed.append(replace(offer, end_reason=facts.OfferEnd.NOT_CONNECTED))
    for leg in call.legs.values():
        if leg.ended_at is None and leg.leg_id not in keep:
            made.closed.append(replace(leg, ended_at=now, end_reason=facts.LegEnd.LOST))
    for visit in call.visits.values():
        if visit.ended_at is None and visit.visit_id != visit_id:
            made.closed.append(replace(visit, ended_at=now, end_reason=facts.VisitEnd.LOST))
        elif visit.answered_at is not None and visit.released_at is None and not keep:
            made.closed.append(replace(visit, released_at=now))
    if not keep and call.call.ended_at is None:
        made.closed.append(replace(call.call, ended_at=now, end_reason=facts.CallEnd.LOST))
