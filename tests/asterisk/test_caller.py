"""A live caller's joins and resumed talks, with the link breaking at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ivr_server import facts
from ivr_server.asterisk.caller import Exchange, LiveCaller, Resumption
from ivr_server.asterisk.channel import Channel
from ivr_server.asterisk.events import BridgeInfo, ChannelInfo
from ivr_server.asterisk.legs import Leg, Records
from ivr_server.asterisk.phones import OutgoingLeg
from ivr_server.call import CallStory
from ivr_server.errors import LinkError, LinkLost
from ivr_server.flow import engine
from ivr_server.flow.ports import CallerGone
from ivr_server.flow.spec import load
from ivr_server.storage.opencalls import OpenCalls
from ivr_server.takeover import plan
from ivr_server.testing import clock
from ivr_server.testing.waiting import FactList, ScriptedPhones
from ivr_server.waiting.room import WaitingRoom

from .test_channel import Link

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FLOW = load(
    "flow: f\nlanguage: en\nstart: sales\nnodes:\n  sales: {type: queue, queue: sales,"
    " on: {answered: bye, timeout: bye, full: bye, no_agents: bye}}\n  bye: {type: hangup}\n",
    "f",
)


class Bridges:
    """Bridges that Asterisk would hold; a reaction per request as in test_channel."""

    def __init__(self, reactions: dict[str, list[Exception | Callable[[], object] | None]]) -> None:
        self.held: set[str] = set()
        self.made = 0
        self._reactions = reactions

    def _react(self, name: str) -> None:
        reactions = self._reactions.get(name)
        reaction = reactions.pop(0) if reactions else None
        if isinstance(reaction, Exception):
            raise reaction
        if reaction is not None:
            reaction()

    async def createWithId(self, bridgeId: str, type: str) -> None:
        self.made += 1
        self.held.add(bridgeId)
        self._react("create")

    async def addChannel(self, bridgeId: str, channel: str) -> None:
        self._react("add")

    async def destroy(self, bridgeId: str) -> None:
        self.held.discard(bridgeId)


class Archive:
    def leg_over(self, *args: object) -> None: ...


class Scene:
    """A caller who waits, and an agent's leg that has answered."""

    def __init__(self, **reactions: list[Exception | Callable[[], object] | None]) -> None:
        self.link: Any = Link()
        self.bridges = Bridges(reactions)
        self.link.operations.bridges = self.bridges
        self.link.surely = self._surely
        self.link.address = None
        self.journal = FactList()
        self.records = Records(
            journal=self.journal, archive=Archive(), spool=Path("/spool"), utc=lambda: NOW
        )
        self.room = WaitingRoom({}, [], ScriptedPhones({}), self.journal, utc=lambda: NOW)
        self.channel = Channel(self.link, "c", "PJSIP/trunk-1")
        self.channel.created = self.channel.up = True
        call = facts.Call(call_id="call", started_at=NOW, dialled="1", caller_number="2",
                          language="en", flow="f", flow_version=FLOW.version)  # fmt: skip
        position = facts.Position(call_id="call", channel_id="c", channel_name="x", flow="f",
                                  flow_version=FLOW.version, node="sales", step=1, variables={},
                                  language="en")  # fmt: skip
        self.story = CallStory(self.journal, call, position, utc=lambda: NOW)
        self.leg = OutgoingLeg.new(
            self.link, None, self.records, call_id="call", kind=facts.LegKind.AGENT,  # type: ignore[arg-type]
            endpoint="PJSIP/anna", shown=None, record=False, agent="anna",  # type: ignore[arg-type]
        )  # fmt: skip
        self.leg.channel.created = self.leg.channel.up = True

    async def _surely(self, operation: Callable[[], Any]) -> None:
        await operation()

    def caller(self, resumption: Resumption | None = None) -> LiveCaller:
        fact = facts.Leg(leg_id="c", call_id="call", kind=facts.LegKind.CALLER, endpoint="x",
                         started_at=NOW, answered_at=NOW)  # fmt: skip
        exchange = Exchange(link=self.link, ami=None, records=self.records, room=self.room,  # type: ignore[arg-type]
                            speech=None, destinations={})  # type: ignore[arg-type]  # fmt: skip
        return LiveCaller(
            exchange, Leg(self.channel, fact, self.records), self.story, resumption=resumption
        )


def test_joined_is_written_before_and_after_it_is_true() -> None:
    async def scenario() -> None:
        scene = Scene()
        assert await scene.caller().join(scene.leg, "visit")
        positions = scene.journal.all(facts.Position)
        assert [(one.agent_leg_id, one.connected) for one in positions] == [
            (scene.leg.id, False), (scene.leg.id, True),
        ]  # fmt: skip
        assert scene.bridges.held == {positions[-1].bridge_id}

    clock.run(scenario())


@pytest.mark.parametrize("where", ["create", "add"])
def test_an_agent_who_answered_is_joined_when_the_link_is_back(where: str) -> None:
    async def scenario() -> None:
        scene = Scene(**{where: [LinkLost("cut")]})
        assert await scene.caller().join(scene.leg, "visit")
        assert scene.bridges.made == 2
        assert scene.bridges.held == {scene.story.position.bridge_id}

    clock.run(scenario())


def test_a_refusal_is_not_tried_again_and_leaves_no_bridge() -> None:
    async def scenario() -> None:
        scene = Scene(add=[LinkError("422")])
        assert not await scene.caller().join(scene.leg, "visit")
        assert (scene.bridges.made, scene.bridges.held) == (1, set())
        assert not scene.story.talked

    clock.run(scenario())


@pytest.mark.parametrize("tries", [1, 2])
def test_a_caller_who_goes_while_being_joined_leaves_no_bridge(tries: int) -> None:
    async def scenario() -> None:
        scene = Scene(add=[LinkLost("cut")] if tries == 2 else [])
        gone = [None] * (tries - 1) + [lambda: scene.channel.destroyed(16)]
        scene.link.operations.reactions["stopMoh"] = [lambda: None] * (tries - 1) + gone[-1:]
        with pytest.raises(CallerGone):
            await scene.caller().join(scene.leg, "visit")
        assert scene.bridges.held == set()

    clock.run(scenario())


def test_a_talk_that_goes_on_after_one_restart_goes_on_after_the_next() -> None:
    """The position of a resumed talk says that they talk: nobody is hung up by a second restart."""

    async def scenario() -> None:
        scene = Scene()
        visit = facts.Visit(visit_id="v", call_id="call", queue="sales", enqueued_at=NOW,
                            place_at_entry=1, answered_at=NOW, ended_at=NOW, agent="anna",
                            end_reason=facts.VisitEnd.ANSWERED)  # fmt: skip
        scene.story.waiting("v")
        scene.story.joining(scene.leg.id, "bridge")
        scene.story.connected()
        scene.story.taken_over(None)
        resumption = Resumption(visit=visit, agent_leg=scene.leg, bridge_id="bridge")
        caller = scene.caller(resumption)
        walking = asyncio.create_task(
            engine.run({"f": FLOW}, FLOW, caller, scene.story, start="sales")
        )
        await asyncio.sleep(1)
        assert scene.story.hung_up() is facts.CallEnd.COMPLETED_BY_CALLER
        told = OpenCalls()
        for fact in (scene.story.call, visit, *scene.journal.facts,
                     facts.Leg(leg_id="c", call_id="call", kind=facts.LegKind.CALLER,
                               endpoint="x", started_at=NOW)):  # fmt: skip
            told.add(fact)
        leg = scene.leg.id
        channels = {one: ChannelInfo(id=one, state="Up") for one in ("c", leg)}
        bridge = BridgeInfo(id="bridge", channels=["c", leg])
        made = plan(told.calls(), channels, {"bridge": bridge}, {"c", leg}, NOW)
        assert made.hang_up == []
        assert [one.agent_leg is not None for one in made.continued] == [True]
        scene.leg.channel.destroyed(16)
        scene.bridges.held.add("bridge")
        scene.channel.destroyed(16)
        with pytest.raises(CallerGone):
            await walking
        await scene.room.close()

    clock.run(scenario())
